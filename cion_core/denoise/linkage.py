"""Agglomeration of a sparse similarity graph under cannot-links."""

from __future__ import annotations

import heapq

import numpy as np
from scipy import sparse

from cion_core.denoise.noise import unit


def average(
    similarity: sparse.csr_matrix,
    least: float,
    forbidden: sparse.csr_matrix | None = None,
    start: np.ndarray | None = None,
    points: np.ndarray | None = None,
    radius: float | None = None,
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Average linkage: merge the most similar pair of clusters until none reaches `least`.

    `similarity` symmetric [n, n], absent entries are 0 and count; a cluster pair's similarity is the mean over all
    pairs of their members. `forbidden` symmetric [n, n]: nodes that may never share a cluster. `start` int [n]: the
    clusters to begin with (default: every node alone). With `radius`, no merge may leave one of `points` [n, D]
    farther than it from its cluster's centroid. Ties go to the lower node numbers.

    Returns the label of each node (the lowest node of its cluster), int [n], and the merges in order as
    (node, node, similarity), the nodes being those that name the clusters.
    """
    n = similarity.shape[0]
    label = np.arange(n)
    if start is not None:
        _, first, inverse = np.unique(start, return_index=True, return_inverse=True)
        label = first[inverse]
    pool = sparse.csr_matrix((np.ones(n, np.float64), (label, np.arange(n))), shape=(n, n))
    total = (pool @ similarity @ pool.T).tocsr()
    total.setdiag(0)
    total.eliminate_zeros()
    size = np.bincount(label, minlength=n)
    links = [dict(zip(total.indices[a:b].tolist(), total.data[a:b].tolist(), strict=True))
             for a, b in zip(total.indptr[:-1], total.indptr[1:], strict=True)]  # fmt: skip
    never: list[set[int]] = [set() for _ in range(n)]
    if forbidden is not None:
        for i, j in zip(*(pool @ forbidden @ pool.T).nonzero(), strict=True):
            never[i].add(int(j))
    heap = [
        (-value / (size[i] * size[j]), i, j)
        for i in range(n) for j, value in links[i].items()
        if i < j and value >= least * size[i] * size[j] and j not in never[i]
    ]  # fmt: skip
    heapq.heapify(heap)
    version, parent, merges = [0] * n, label.copy(), []
    members = {node: np.flatnonzero(label == node).tolist() for node in np.unique(label).tolist()}
    heap = [(s, i, j, 0, 0) for s, i, j in heap]
    while heap:
        negative, i, j, vi, vj = heapq.heappop(heap)
        if version[i] != vi or version[j] != vj or j in never[i]:
            continue
        if radius is not None and _spread(points[members[i] + members[j]]) > radius:
            continue
        members[i] += members.pop(j)
        merges.append((i, j, -negative))
        parent[j] = i
        version[i] += 1
        version[j] = -1
        size[i] += size[j]
        for k in never[j]:
            never[k].discard(j)
            never[k].add(i)
        never[i] |= never[j]
        for k, value in links[j].items():
            links[k].pop(j, None)
            if k not in (i, j):
                links[i][k] = links[k][i] = links[i].get(k, 0.0) + value
        links[i].pop(j, None)
        for k, value in links[i].items():
            if k != i and value >= least * size[i] * size[k] and k not in never[i]:
                a, b = min(i, k), max(i, k)
                heapq.heappush(heap, (-value / (size[i] * size[k]), a, b, version[a], version[b]))
        links[j] = {}
    while not np.array_equal(parent[parent], parent):
        parent = parent[parent]
    return parent[label], merges


def single(
    n: int,
    relations: np.ndarray,
    forbidden: sparse.csr_matrix | None = None,
    points: np.ndarray | None = None,
    radius: float | None = None,
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Join nodes along `relations`, [M, 3] rows of (node, node, distance), in the order given.

    A join is left out that would put a forbidden pair into one set, or (radius not None) a point of `points` [n, D]
    farther than `radius` from the set's centroid. Returns as `average` does.
    """
    label, merges = np.arange(n), []
    members = {node: [node] for node in range(n)}
    never: list[set[int]] = [set() for _ in range(n)]
    if forbidden is not None:
        for i, j in zip(*forbidden.nonzero(), strict=True):
            never[i].add(int(j))
    for i, j, distance in relations:
        a, b = sorted((int(label[int(i)]), int(label[int(j)])))
        if a == b or not never[a].isdisjoint(members[b]):
            continue
        joined = members[a] + members[b]
        if radius is not None and _spread(points[joined]) > radius:
            continue
        label[members[b]] = a
        members[a] = joined
        never[a] |= never[b]
        del members[b]
        merges.append((a, b, float(distance)))
    return label, merges


def close(similarity: sparse.csr_matrix, least: float, forbidden: sparse.csr_matrix, label: np.ndarray) -> int:
    """How many pairs of clusters that are not forbidden have a mean similarity of at least `least`."""
    _, group, size = np.unique(label, return_inverse=True, return_counts=True)
    pool = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), shape=(len(size), len(group)))
    total = sparse.triu(pool @ similarity @ pool.T, 1).tocoo()
    near = total.data >= least * size[total.row] * size[total.col] * (1 + 1e-9)
    never = (pool @ forbidden @ pool.T).tocsr()[total.row[near], total.col[near]]
    return int(near.sum() - (never > 0).sum())


def _spread(points: np.ndarray) -> float:
    """The largest cosine distance of a point to the centroid of all."""
    return float((1 - points @ unit(points.sum(0, keepdims=True))[0]).max())
