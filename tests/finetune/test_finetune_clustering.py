"""Clusters: the published Jaccard distance, sparse as dense, both ways on known people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import DBSCAN

from cion_core.finetune import clustering
from cion_core.neighbours.arrays import unit


def cloud(seed: int, n: int, dim: int = 5) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def people(
    seed: int, count: int, each: int, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, person and camera of everybody in `each` images of four cameras."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), each)
    features = unit(
        rng.normal(size=(count, 32))[person] + spread * rng.normal(size=(len(person), 32))
    )
    return features, person, np.tile(np.arange(4), len(person))[: len(person)]


def dense(graph: sparse.csr_matrix, absent: float) -> np.ndarray:
    """The matrix of a graph, float [n, n], 0 on the diagonal; stored zeros stay zeros."""
    out, pairs = np.full(graph.shape, absent, np.float32), graph.tocoo()
    out[pairs.row, pairs.col] = pairs.data
    np.fill_diagonal(out, 0)
    return out


def published(features: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """compute_jaccard_distance of SpCL and Cluster Contrast, by its definition.

    It uses sets and dense float64 vectors. FAISS is asked for k1 images there, the image itself
    among them, which cuts the k1 + 1 of Zhong et al. to k1.
    """
    n, x = len(features), features.astype(np.float64)
    distance = 2 - 2 * x @ x.T
    np.fill_diagonal(distance, -1)
    rank = np.argsort(distance, axis=1, kind="stable")[:, :k1]

    def mutual(i: int, k: int) -> set[int]:
        return {int(j) for j in rank[i, : k + 1] if i in rank[j, : k + 1]}

    v = np.zeros((n, n))
    for i in range(n):
        near = mutual(i, k1)
        members = set(near)
        for q in near:
            half = mutual(q, int(np.around(k1 / 2)))
            if len(half & near) > 2 / 3 * len(half):
                members |= half
        columns = sorted(members)
        away = 2 - 2 * x[columns] @ x[i]
        v[i, columns] = np.exp(-away) / np.exp(-away).sum()
    v = np.array([v[rank[i, :k2]].mean(0) for i in range(n)])
    shared = np.minimum(v[:, None], v[None]).sum(2)
    return np.maximum(1 - shared / (2 - shared), 0)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(12, 40),
    st.integers(4, 11),
    st.integers(1, 4),
    st.floats(0.2, 0.99),
)
def test_jaccard_is_the_published_one(seed: int, n: int, k1: int, k2: int, most: float) -> None:
    features = cloud(seed, n)
    expected = published(features, k1, k2)
    whole = dense(clustering.jaccard_distances(features, 1, k1, k2), 1)
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    np.testing.assert_array_equal(
        dense(clustering.jaccard_distances(features, most, k1, k2), 9),
        np.where(whole <= most, whole, 9),
    )


def test_of_images_that_are_equal_the_distance_is_kept() -> None:
    features = np.repeat(cloud(0, 4), 5, axis=0)
    graph = clustering.jaccard_distances(features, 0.5, 5, 2)
    assert graph.nnz == 4 * 5 * 4 and np.allclose(graph.data, 0, atol=1e-6)
    assert clustering.dbscan(features, 0.5, 5, 2).tolist() == np.repeat(np.arange(4), 5).tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.3, 0.8), st.floats(0.5, 1.2))
def test_dbscan_is_that_of_the_dense_matrix(seed: int, eps: float, spread: float) -> None:
    features, _, _ = people(seed, 6, 9, spread)
    whole = dense(clustering.jaccard_distances(features, 1, 10, 3), 1)
    expected = DBSCAN(eps=eps, min_samples=4, metric="precomputed").fit_predict(whole)
    found = clustering.dbscan(features, eps, 10, 3)
    alone = np.isin(
        expected, [name for name in np.unique(expected) if (expected == name).sum() < 2]
    )
    names = {int(name): i for i, name in enumerate(np.unique(expected[(expected >= 0) & ~alone]))}
    assert found.dtype == np.int64 and found.tolist() == [
        -1 if one else names.get(int(label), -1) for label, one in zip(expected, alone, strict=True)
    ]


def test_linked_people_are_numbered_and_those_of_few_images_are_none() -> None:
    features, person, cameras = people(0, 20, 12, 0.2)
    few = clustering.MIN_SAMPLES - 1
    shown = (person % 2 == 0) | (np.arange(len(person)) % 12 < few)
    found = clustering.link_images(features[shown], cameras[shown])
    assert set(found[person[shown] % 2 == 0]) == set(range(10))
    assert (found[person[shown] % 2 == 1] == -1).all()


@pytest.mark.parametrize("way", ["dbscan", "linking"])
def test_who_is_alike_is_one(way: str) -> None:
    features, person, cameras = people(0, 20, 12, 0.4)
    found = (
        clustering.dbscan(features, 0.5, 10, 3)
        if way == "dbscan"
        else clustering.link_images(features, cameras)
    )
    kept = found >= 0
    assert kept.mean() > 0.9 and found.max() + 1 >= 20
    for label in range(found.max() + 1):
        assert len(np.unique(person[found == label])) == 1 and (found == label).sum() >= 4
    pairs = sum(
        (size := (found[person == one] == label).sum()) * (size - 1)
        for one in range(20)
        for label in range(20)
    )
    assert pairs > 0.8 * 20 * 12 * 11


def test_linking_does_not_depend_on_the_order_of_images() -> None:
    features, _, cameras = people(2, 15, 8, 0.6)
    order = np.random.default_rng(0).permutation(len(features))
    one, other = (
        clustering.link_images(features, cameras),
        clustering.link_images(features[order], cameras[order]),
    )
    assert ((one < 0)[order] == (other < 0)).all()
    kept = other >= 0
    assert (
        len(set(zip(one[order][kept].tolist(), other[kept].tolist(), strict=True))) == one.max() + 1
    )


def test_linking_of_one_camera_or_of_few_images_goes_by_neighbourhoods_alone() -> None:
    features, person, _ = people(3, 6, 10, 0.3)
    found = clustering.link_images(features, np.ones(len(features), np.int64))
    assert found.max() + 1 >= 6 and all(
        len(np.unique(person[found == label])) == 1 for label in range(found.max() + 1)
    )
    assert clustering.link_images(features[:2], np.array([1, 2])).tolist() == [-1, -1]


def test_silhouette_by_hand() -> None:
    angles = np.radians([0, 10, 90, 100, 45])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = np.array([0, 0, 1, 1, -1])
    own = 1 - np.cos(np.radians(5))
    far, near = 1 - np.cos(np.radians([95, 85]))
    expected = ((far - own) / far + (near - own) / near) / 2
    assert clustering.silhouette(features, labels) == pytest.approx(expected, abs=1e-5)
    mixed = np.array([0, 1, 0, 1, -1])  # each nearer to the other's mean or as near
    assert clustering.silhouette(features, mixed) < 0.1
