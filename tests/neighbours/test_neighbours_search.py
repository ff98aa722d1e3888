"""Exact nearest rows, some pairs of them forbidden, against all distances sorted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cion_core.neighbours import search
from cion_core.neighbours.arrays import unit


def scene(seed: int, n: int, share: float) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Points, and a share of their pairs that are forbidden."""
    rng = np.random.default_rng(seed)
    points = unit(rng.normal(size=(n, 4)))
    never = np.triu(rng.random((n, n)) < share, 1)
    return points, sparse.csr_matrix(never | never.T)


def slow(points: np.ndarray, never: sparse.csr_matrix, k: int) -> np.ndarray:
    rank = -(points @ points.T) + 4 * never.toarray()
    np.fill_diagonal(rank, -9)
    return np.argsort(rank, axis=1, kind="stable")[:, : k + 1]


def test_forbidden_rows_are_no_neighbours() -> None:
    points = unit(np.array([[1, 0], [1, 0.01], [1, 0.2], [0, 1]], np.float32))
    never = sparse.csr_matrix(
        np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    )
    assert search.neighbours(points, 1).tolist() == [[0, 1], [1, 0], [2, 1], [3, 2]]
    assert search.neighbours(points, 1, never).tolist() == [[0, 2], [1, 2], [2, 1], [3, 2]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 20), st.sampled_from([0, 0.2, 0.7]))
def test_lists_are_those_of_all_distances_sorted(seed: int, n: int, k: int, share: float) -> None:
    points, never = scene(seed, n, share)
    np.testing.assert_array_equal(
        search.neighbours(points, k, never), slow(points, never, min(k, n - 1))
    )
    some = np.arange(0, n, 3)
    np.testing.assert_array_equal(
        search.neighbours(points, k, never, some), search.neighbours(points, k, never)[some]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 60), st.integers(1, 30))
def test_widened_lists_are_those_of_all_points(seed: int, old: int, new: int) -> None:
    rng = np.random.default_rng(seed)
    points = unit(rng.normal(size=(old + new, 4)))
    never = np.triu(rng.random((old + new, old + new)) < 0.2, 1)
    never[:old, old:] = False
    never = sparse.csr_matrix(never | never.T)
    lists = search.neighbours(points[:old], forbidden=never[:old, :old])
    np.testing.assert_array_equal(
        search.widen(points, lists, never), search.neighbours(points, forbidden=never)
    )
