"""Average and single linkage under cannot-links against SciPy and by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from cion_core.denoise.linking import agglomeration
from cion_core.neighbours.arrays import unit


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 25), st.floats(0.05, 0.9))
def test_average_linkage_equals_scipy(seed: int, n: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.6), 1)
    similar = upper + upper.T
    label, merges = agglomeration.average_linkage(sparse.csr_matrix(similar), least)
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
    label, _ = agglomeration.average_linkage(sparse.csr_matrix(upper + upper.T), 0.1, never)
    assert (label[i] != label[j]).all()
    relations = np.array(
        [(a, b, 1 - upper[a, b]) for a in range(n) for b in range(a + 1, n)]
    ).reshape(-1, 3)
    label, _ = agglomeration.single_linkage(n, relations[np.argsort(relations[:, 2])], never)
    assert (label[i] != label[j]).all()


def test_average_by_hand_goes_on_from_a_start() -> None:
    # 0-1 and 2-3 are pairs; across, only 1-2 is similar: 0.8 alone, 0.2 over the four pairs of the
    # two sets
    similar = np.zeros((4, 4))
    similar[0, 1] = similar[2, 3] = 0.9
    similar[1, 2] = 0.8
    similar = sparse.csr_matrix(similar + similar.T)
    assert agglomeration.average_linkage(similar, 0.3)[0].tolist() == [0, 0, 2, 2]
    assert agglomeration.average_linkage(similar, 0.2)[0].tolist() == [0, 0, 0, 0]
    label, merges = agglomeration.average_linkage(similar, 0.3, initial_sets=np.array([5, 5, 6, 7]))
    assert label.tolist() == [0, 0, 2, 2] and merges == [(2, 3, 0.9)]
    nothing = sparse.csr_matrix((4, 4), dtype=bool)
    assert agglomeration.count_close_pairs(similar, 0.3, nothing, np.arange(4)) == 3
    assert agglomeration.count_close_pairs(similar, 0.3, nothing, label) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 25), st.floats(0.1, 0.9))
def test_merges_cut_higher_are_those_of_a_higher_limit(seed: int, n: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)), 1)
    similar, start = (
        sparse.csr_matrix(upper + upper.T),
        agglomeration.lowest_of_each(rng.integers(0, n, n)),
    )
    _, merges = agglomeration.average_linkage(similar, 0.1, initial_sets=start)
    label, _ = agglomeration.average_linkage(similar, least, initial_sets=start)
    np.testing.assert_array_equal(agglomeration.apply_merges(start, merges, least), label)


def test_radius_refuses_a_wide_set() -> None:
    points = unit(np.array([[1, 0], [1, 0.2], [0, 1]], np.float32))
    similar = sparse.csr_matrix(np.full((3, 3), 0.9) - np.diag([0.9] * 3))
    assert agglomeration.average_linkage(similar, 0.5, points=points, radius=0.1)[0].tolist() == [
        0,
        0,
        2,
    ]
    relations = np.array([(0, 1, 0.1), (1, 2, 0.1)])
    assert agglomeration.single_linkage(3, relations, points=points, radius=0.1)[0].tolist() == [
        0,
        0,
        2,
    ]
    assert agglomeration.single_linkage(3, relations)[0].tolist() == [0, 0, 0]


def _partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}
