"""Jaccard similarity and average linkage against the definitions written out, scikit-learn free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from cion_core.denoise.linking import agglomeration as linkage
from cion_core.neighbours import search as nearest, k_reciprocal as reciprocal
from cion_core.denoise import noise


def cloud(seed: int, n: int, dim: int = 5) -> np.ndarray:
    return noise.unit(np.random.default_rng(seed).normal(size=(n, dim)))


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
    found = reciprocal.jaccard(reciprocal.neighbourhoods(points, nearest.neighbours(points, 9), k1, k2)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_jaccard_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(3, 40)
    index = nearest.neighbours(points)
    whole = reciprocal.similarity(points, index).toarray()
    for module, name, value in ((nearest, "PAIRS", 50), (nearest, "QUERIES", 7), (reciprocal, "JOINS", 60)):
        monkeypatch.setattr(module, name, value)
    assert (nearest.neighbours(points) == index).all()
    np.testing.assert_allclose(reciprocal.similarity(points, index).toarray(), whole, atol=1e-6)
    some = np.array([3, 4, 17, 39])
    np.testing.assert_allclose(reciprocal.similarity(points, index, some).toarray(), whole[some][:, some], atol=1e-6)
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)
    assert whole.any() and not whole.diagonal().any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 60), st.integers(1, 5), st.floats(0.1, 0.6))
def test_whom_some_rows_resemble(seed: int, n: int, some: int, least: float) -> None:
    """By all similarities of all rows; those in no neighbourhood of theirs, or hardly any's, are not asked for."""
    points, rows = cloud(seed, n), np.random.default_rng(seed).permutation(n)
    index = nearest.neighbours(points)
    whole = reciprocal.similarity(points, index).toarray()
    found = reciprocal.similarity(points, index, rows, some).toarray()
    np.testing.assert_allclose(found[:some], whole[rows[:some]][:, rows], atol=1e-6)
    assert not found[some:, some:].any()
    _, middle, small = reciprocal._scales(n)
    near = reciprocal.neighbourhoods(points, index, *middle, rows[:some]).indices
    touched = reciprocal.jaccard(reciprocal.neighbourhoods(points, index, *small)).toarray()[rows[:some]]
    want = np.intersect1d(np.flatnonzero((touched >= reciprocal.TOUCH).any(0)), near)
    want = np.setdiff1d(np.intersect1d(np.flatnonzero((whole[rows[:some]] >= least).any(0)), want), rows[:some])
    assert reciprocal.resembling(points, index, rows[:some], least).tolist() == want.tolist()


def test_keys_leave_room_for_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few bits are left for keys that a block holds two rows at most."""
    points = cloud(4, 40)
    index = nearest.neighbours(points)
    whole = reciprocal.similarity(points, index).toarray()
    monkeypatch.setattr(reciprocal, "KEY", 7)
    assert max(part.stop - part.start for part in reciprocal._Overlap(sparse.identity(40, format="csr")).parts()) == 2
    np.testing.assert_array_equal(reciprocal.similarity(points, index).toarray(), whole)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**33 - 1) | st.integers(0, 5), st.floats(0, 1.75, width=32)), max_size=30))
def test_values_of_one_key_are_added(pairs: list[tuple[int, float]]) -> None:
    expected: dict[int, float] = {}
    for key, value in sorted(pairs):
        expected[key] = expected.get(key, 0) + value
    keys, sums = reciprocal._added(*(np.array([p[i] for p in pairs], (np.int64, np.float32)[i]) for i in (0, 1)))
    assert keys.tolist() == sorted(expected) and sums.dtype == np.float32
    np.testing.assert_allclose(sums, [expected[key] for key in sorted(expected)], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 25), st.floats(0.05, 0.9))
def test_average_linkage_equals_scipy(seed: int, n: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.6), 1)
    similar = upper + upper.T
    label, merges = linkage.average(sparse.csr_matrix(similar), least)
    tree = hierarchy.linkage(squareform(1 - similar, checks=False), "average")
    expected = hierarchy.fcluster(tree, 1 - least, "distance")
    assert _partition(label) == _partition(expected)
    assert len(merges) == n - len(set(label)) and all(s >= least - 1e-9 for *_, s in merges)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 20))
def test_forbidden_pairs_never_meet(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)), 1)
    never = np.triu(rng.random((n, n)) < 0.2, 1)
    never = sparse.csr_matrix(never | never.T)
    i, j = never.nonzero()
    label, _ = linkage.average(sparse.csr_matrix(upper + upper.T), 0.1, never)
    assert (label[i] != label[j]).all()
    relations = np.array([(a, b, 1 - upper[a, b]) for a in range(n) for b in range(a + 1, n)]).reshape(-1, 3)
    label, _ = linkage.single(n, relations[np.argsort(relations[:, 2])], never)
    assert (label[i] != label[j]).all()


def test_average_by_hand_goes_on_from_a_start() -> None:
    # 0-1 and 2-3 are pairs; across, only 1-2 is similar: 0.8 alone, 0.2 over the four pairs of the two sets
    similar = np.zeros((4, 4))
    similar[0, 1] = similar[2, 3] = 0.9
    similar[1, 2] = 0.8
    similar = sparse.csr_matrix(similar + similar.T)
    assert linkage.average(similar, 0.3)[0].tolist() == [0, 0, 2, 2]
    assert linkage.average(similar, 0.2)[0].tolist() == [0, 0, 0, 0]
    label, merges = linkage.average(similar, 0.3, start=np.array([5, 5, 6, 7]))
    assert label.tolist() == [0, 0, 2, 2] and merges == [(2, 3, 0.9)]
    nothing = sparse.csr_matrix((4, 4), dtype=bool)
    assert linkage.close(similar, 0.3, nothing, np.arange(4)) == 3
    assert linkage.close(similar, 0.3, nothing, label) == 0


def test_radius_refuses_a_wide_set() -> None:
    points = noise.unit(np.array([[1, 0], [1, 0.2], [0, 1]], np.float32))
    similar = sparse.csr_matrix(np.full((3, 3), 0.9) - np.diag([0.9] * 3))
    assert linkage.average(similar, 0.5, points=points, radius=0.1)[0].tolist() == [0, 0, 2]
    relations = np.array([(0, 1, 0.1), (1, 2, 0.1)])
    assert linkage.single(3, relations, points=points, radius=0.1)[0].tolist() == [0, 0, 2]
    assert linkage.single(3, relations)[0].tolist() == [0, 0, 0]


def _partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}
