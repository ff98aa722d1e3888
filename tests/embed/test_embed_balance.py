from __future__ import annotations

import cv2
import numpy as np

from cion_core.embed.balance import MEAN, SPREAD, TRUST, measure_balance
from cion_core.embed.stage import balance_colours


def people() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        cv2.resize(rng.integers(60, 180, (6, 2, 3), dtype=np.uint8), (32, 64)) for _ in range(12)
    ]


def test_a_cast_and_a_gain_drop_out() -> None:
    seen = people()
    cast = [
        np.clip(image * (1.2, 1.0, 0.7) + (0, 10, 5), 0, 255).astype(np.uint8) for image in seen
    ]
    videos = np.array(["a"] * 12 + ["b"] * 12, object)
    images = seen + cast
    read = balance_colours(videos, images.__getitem__)
    apart = [np.abs(read(i).astype(int) - read(i + 12)).mean() for i in range(12)]
    before = [np.abs(images[i].astype(int) - images[i + 12]).mean() for i in range(12)]
    assert max(apart) < 3 < min(before)


def test_each_video_gets_the_mean_and_spread() -> None:
    images = people()
    videos = np.array(["a"] * 6 + ["b"] * 6, object)
    read = balance_colours(videos, images.__getitem__)
    for rows in (range(6), range(6, 12)):
        pixels = np.concatenate([read(row)[:, 8:24].reshape(-1, 3) for row in rows]).astype(float)
        assert np.allclose(pixels.mean(0), MEAN, atol=2)
        assert np.allclose(pixels.std(0), SPREAD, atol=3)


def test_a_flat_video_is_not_torn_apart() -> None:
    balance = measure_balance(
        np.array(["a"], object), lambda _: np.full((64, 32, 3), 90, np.uint8), [0]
    )
    ramp = np.tile(np.arange(80, 100, dtype=np.uint8)[None, :, None], (1, 1, 3))
    seen = balance(ramp, 0)[0, :, 0].astype(int)
    assert seen[10] == round(MEAN)
    assert np.diff(seen).max() <= SPREAD / 8 + 1


def test_most_of_a_shadow_is_lifted() -> None:
    """Two of nine crops stand in a shadow that leaves half of the red and a third of the blue.

    All are before one wall.
    """
    scene = people()[:9]
    for image in scene:
        image[:, :5] = image[:, 27:] = 120
    images = [
        np.rint(image * (1 / 2, 1, 1 / 3)).astype(np.uint8) if i < 2 else image
        for i, image in enumerate(scene)
    ]
    balance = measure_balance(np.array(["a"] * 9, object), images.__getitem__, range(9))
    assert np.allclose(balance.gain[:2], [2**TRUST, 1, 3**TRUST])
    assert (balance.gain[2:] == 1).all()
