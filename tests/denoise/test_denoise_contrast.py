"""Contrast of the identities of one video against the formula written out, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import contrast
from cion_core.neighbours.arrays import unit


def slow(centres: np.ndarray, crops: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    n = len(centres)
    points = [c - sum(centres) / (n + 5) for c in centres.astype(float)]
    points = [p / np.linalg.norm(p) for p in points]
    cosine = [[float(p @ q) for q in points] for p in points]
    common = [
        np.mean(sorted((cosine[i][j] for j in range(n) if j != i), reverse=True)[:5])
        for i in range(n)
    ]
    out = np.full((n, n), np.inf)
    span = max(last) - min(first) + 1
    for i in range(n):
        for j in range(n):
            if i != j:
                gap = max(first[i] - last[j], first[j] - last[i])
                share = 1.0 if gap < 0 else max((gap + 1) / span, 0.001)
                credit = -0.03 * np.log(share) + 0.05 * (1 / crops[i] + 1 / crops[j])
                out[i, j] = 1 - (cosine[i][j] - 0.75 * (common[i] + common[j]) / 2 + credit)
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_equals_the_formula_and_is_symmetric(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 1000, n)
    given_ = (
        unit(rng.normal(size=(n, 6)) + 1),
        rng.integers(1, 9, n),
        first,
        first + rng.integers(0, 200, n),
    )
    found = contrast.distances(*given_)
    np.testing.assert_allclose(found, slow(*given_), atol=2e-5)
    np.testing.assert_array_equal(found, found.T)
    order = rng.permutation(n)
    moved = contrast.distances(*(column[order] for column in given_))
    np.testing.assert_allclose(moved, found[order][:, order], atol=2e-5)


def test_what_is_common_in_a_video_says_nothing() -> None:
    """Everybody as alike as the pair: it does not stand out, and in another video it does."""
    rng = np.random.default_rng(0)
    pair = unit(np.array([[1.0, 0, 0, 0, 0, 0]]) + 0.2 * rng.normal(size=(2, 6)))
    alike = unit(np.array([[1.0, 0, 0, 0, 0, 0]]) + 0.2 * rng.normal(size=(10, 6)))
    others = unit(rng.normal(size=(10, 6)))
    time = np.full(12, 8), np.arange(12) * 10, np.arange(12) * 10 + 20
    apart = [
        contrast.distances(np.concatenate([pair, rest]), *time)[0, 1] for rest in (alike, others)
    ]
    assert apart[1] < apart[0] - 0.3


def test_soon_after_counts_and_at_the_same_time_does_not() -> None:
    centres, crops = unit(np.eye(4) + 0.1), np.full(4, 8)
    first, last = np.array([0, 11, 5, 990]), np.array([10, 20, 15, 999])
    found = contrast.distances(centres, crops, first, last)
    # One pair has a gap of 2, the other overlaps.
    assert found[0, 1] == pytest.approx(found[0, 2] + 0.03 * np.log(2 / 1000), abs=1e-5)
    assert found[0, 1] < found[0, 3] < found[0, 2] + 1e-6


def test_nobody_stands_out_of_two_or_fewer() -> None:
    one = np.ones(1, np.int64)
    assert contrast.distances(unit(np.ones((1, 3))), one, one, one).tolist() == [[np.inf]]
    assert contrast.distances(np.empty((0, 3), np.float32), *[np.empty(0, np.int64)] * 3).shape == (
        0,
        0,
    )
    two = contrast.distances(
        unit(np.ones((2, 3))), np.array([9, 9]), np.array([0, 500]), np.array([9, 999])
    )
    assert two[0, 1] > 0.6  # the same to the last digit, and yet not close
