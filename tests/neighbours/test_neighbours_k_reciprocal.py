"""k-reciprocal neighbourhoods and their Jaccard similarity against the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cion_core.neighbours import k_reciprocal, overlap, search
from cion_core.neighbours import similarity as alike
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.overlap import Jaccard, Overlap, sum_by_key
from cion_core.neighbours.similarity import find_similar, similarity


def jaccard(v: sparse.csr_matrix) -> sparse.csr_matrix:
    """Of all neighbourhoods, symmetric [n, n], no diagonal."""
    found = Jaccard(v)
    parts = (found.of(part) for part in found.blocks(slice(0, v.shape[0])))
    i, j, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    half = sparse.csr_matrix((value, (i, j)), v.shape)
    return half + half.T


def cloud(seed: int, n: int, dim: int = 5) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def slow_jaccard(points: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Zhong et al. as they wrote it: sets and dense vectors."""
    n = len(points)
    distance = 1 - points @ points.T
    np.fill_diagonal(distance, -1)
    order = np.argsort(distance, axis=1, kind="stable")

    def mutual(i: int, k: int) -> set[int]:
        return {int(j) for j in order[i, : k + 1] if i in order[j, : k + 1]}

    v = np.zeros((n, n))
    for i in range(n):
        first = mutual(i, k1)
        wide = set(first)
        for q in first:
            half = mutual(q, max(1, round(k1 / 2)))
            if len(first & half) > 2 / 3 * len(half):
                wide |= half
        for j in wide:
            v[i, j] = np.exp(-np.sum((points[i] - points[j]) ** 2))
        v[i] /= v[i].sum()
    v = np.stack([v[order[i, :k2]].mean(0) for i in range(n)])
    return np.array([[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in v] for a in v])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 24), st.integers(1, 9), st.integers(1, 4))
def test_jaccard_equals_the_definition(seed: int, n: int, k1: int, k2: int) -> None:
    points, k1, k2 = cloud(seed, n), min(k1, n - 1), min(k2, n)
    expected = slow_jaccard(points, k1, k2)
    np.fill_diagonal(expected, 0)
    found = jaccard(
        k_reciprocal.neighbourhoods(points, search.neighbours(points, 9), k1, k2)
    ).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_jaccard_does_not_depend_on_the_size_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(3, 40)
    index = search.neighbours(points)
    whole = similarity(points, index).toarray()
    for module, name, value in (
        (search, "PAIRS", 50),
        (search, "QUERIES", 7),
        (overlap, "ADDITIONS", 60),
    ):
        monkeypatch.setattr(module, name, value)
    assert (search.neighbours(points) == index).all()
    np.testing.assert_allclose(similarity(points, index).toarray(), whole, atol=1e-6)
    some = np.array([3, 4, 17, 39])
    np.testing.assert_allclose(
        similarity(points, index, some).toarray(), whole[some][:, some], atol=1e-6
    )
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)
    assert whole.any() and not whole.diagonal().any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 60), st.integers(1, 5), st.floats(0.1, 0.6))
def test_whom_some_rows_resemble_by_all_similarities(
    seed: int, n: int, some: int, least: float
) -> None:
    """By all similarities of all rows.

    Rows in no neighbourhood of theirs, or hardly in one, are not asked for.
    """
    points, rows = cloud(seed, n), np.random.default_rng(seed).permutation(n)
    index = search.neighbours(points)
    whole = similarity(points, index).toarray()
    found = similarity(points, index, rows, some).toarray()
    np.testing.assert_allclose(found[:some], whole[rows[:some]][:, rows], atol=1e-6)
    assert not found[some:, some:].any()
    _, middle, small = alike.neighbourhood_sizes(n)
    near = k_reciprocal.neighbourhoods(points, index, *middle, rows[:some]).indices
    touched = jaccard(k_reciprocal.neighbourhoods(points, index, *small)).toarray()[rows[:some]]
    want = np.intersect1d(np.flatnonzero((touched >= alike.TOUCH).any(0)), near)
    want = np.setdiff1d(
        np.intersect1d(np.flatnonzero((whole[rows[:some]] >= least).any(0)), want), rows[:some]
    )
    assert find_similar(points, index, rows[:some], least).tolist() == want.tolist()


def test_keys_leave_room_for_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few bits are left for keys that a block holds two rows at most."""
    points = cloud(4, 40)
    index = search.neighbours(points)
    whole = similarity(points, index).toarray()
    monkeypatch.setattr(overlap, "KEY_BITS", 7)
    assert (
        max(part.stop - part.start for part in Overlap(sparse.identity(40, format="csr")).blocks())
        == 2
    )
    np.testing.assert_array_equal(similarity(points, index).toarray(), whole)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**33 - 1) | st.integers(0, 5), st.floats(0, 1.75, width=32)),
        max_size=30,
    )
)
def test_values_of_one_key_are_added(pairs: list[tuple[int, float]]) -> None:
    expected: dict[int, float] = {}
    for key, value in sorted(pairs):
        expected[key] = expected.get(key, 0) + value
    keys, sums = sum_by_key(
        *(np.array([p[i] for p in pairs], (np.int64, np.float32)[i]) for i in (0, 1))
    )
    assert keys.tolist() == sorted(expected) and sums.dtype == np.float32
    np.testing.assert_allclose(sums, [expected[key] for key in sorted(expected)], rtol=1e-6)
