"""The Sliding Range, published links against scipy, reciprocal ones position by position, and going on after a kill."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.denoise import noise, sliding
from cion_core.errors import CionError


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(2, 70), st.integers(1, 69))
def test_positions_cover_every_neighbourhood(n: int, size: int, stride: int) -> None:
    stride = min(stride, size - 1)
    found = list(sliding.positions(n, size, stride))
    assert all(len(rows) == min(size, n) for rows in found)
    assert set(np.concatenate(found)) == set(range(n))
    for a, b in pairwise(found):
        assert 1 <= b[0] - a[0] <= stride  # they overlap, so relations connect
    assert found[-1][-1] == n - 1


def test_positions_by_hand() -> None:
    spans = [(int(r[0]), int(r[-1])) for r in sliding.positions(10, 4, 3)]
    assert spans == [(0, 3), (3, 6), (6, 9)]
    assert [len(r) for r in sliding.positions(5, None, None)] == [5]
    with pytest.raises(CionError, match="stride 4 must be at least 1 and below the Sliding Range 4"):
        list(sliding.positions(10, 4, 4))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.01, 0.6))
def test_published_at_full_range_is_connected_components(seed: int, n: int, separation: float) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    linked = sliding.published(points, separation)
    graph = sparse.csr_matrix((1 - points @ points.T < separation) & ~np.eye(n, dtype=bool))
    count, expected = connected_components(graph)
    assert partition(linked.place) == partition(expected) and len(linked.merges) == n - count
    for size in (n, n + 5):
        if size >= 2:
            np.testing.assert_array_equal(sliding.published(points, separation, size=size).place, linked.place)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 40), st.integers(2, 12))
def test_published_in_a_range_links_what_lies_in_one_position(seed: int, n: int, size: int) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    near = np.zeros((n, n), bool)
    for rows in sliding.positions(n, size, None):
        near[np.ix_(rows, rows)] = True
    graph = sparse.csr_matrix((1 - points @ points.T < 0.2) & near & ~np.eye(n, dtype=bool))
    label = sliding.published(points, 0.2, size=size).place
    assert partition(label) == partition(connected_components(graph)[1])


def test_published_stops_chains_at_cannot_links_and_the_radius() -> None:
    angles = np.deg2rad([0, 10, 20, 30])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    assert sliding.published(points, step).place.tolist() == [0, 0, 0, 0]
    never = sparse.lil_matrix((4, 4), dtype=bool)
    never[0, 3] = never[3, 0] = True
    assert len(set(sliding.published(points, step, forbidden=never.tocsr()).place[[0, 3]])) == 2
    spread = sliding.published(points, step, radius=float(1 - np.cos(np.deg2rad(8)))).place
    assert len(set(spread.tolist())) == 2  # 5° in a pair, 10° in three, 15° in four
