"""The space of reciprocal linking: centred on videos, adapted in rounds, and the same for those that come later."""

from __future__ import annotations

import numpy as np

from cion_core.denoise import noise, space


def test_centring_removes_what_a_video_adds() -> None:
    rng = np.random.default_rng(0)
    people = noise.unit(rng.normal(size=(30, 16)))
    points = noise.unit(np.concatenate([people + 0.5 * rng.normal(size=16), people + 0.5 * rng.normal(size=16)]))
    videos = np.repeat([0, 1], 30)

    def rank1(x: np.ndarray) -> float:
        return float(np.mean((x[:30] @ x[30:].T).argmax(1) == np.arange(30)))

    assert rank1(space.centred(points, videos)) > rank1(points)


def test_centring_one_identity_per_video_leaves_something() -> None:
    points = noise.unit(np.random.default_rng(0).normal(size=(3, 4)))
    expected = noise.unit(points - points.mean(0))  # the shrunk mean of one: its own share and the global one's
    np.testing.assert_allclose(space.centred(points, np.arange(3)), expected, atol=1e-5)
