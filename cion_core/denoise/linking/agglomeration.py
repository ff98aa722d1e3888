"""Agglomeration of a sparse similarity graph under cannot-links."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import sorted_unique, unit


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
    clusters to begin with (default: every node alone). With `radius`, clusters whose union would have one of `points`
    [n, D] farther than it from its centroid stay apart for good. Ties go to the lower node numbers.

    All pairs that are each other's most similar merge at once: no merge makes a cluster more similar to a third than
    its parts were, so the result is that of one pair at a time (Murtagh, The Computer Journal 26, 1983), in some tens
    of rounds. Returns the label of each node (the lowest node of its cluster), int [n], and the merges, the most
    similar first, as (node, node, similarity), the nodes being those that name the clusters.
    """
    n = similarity.shape[0]
    label = np.arange(n) if start is None else lowest(start)
    size = np.bincount(label, minlength=n)
    i, j, value = _contracted(sparse.triu(similarity, 1, "coo"), label)
    never = _keys(label, forbidden, n)
    merges, target = [], np.arange(n)
    while True:
        open_ = value >= least * size[i] * size[j]  # their mean is computed alike from both sides: kept once, i < j
        open_[open_] = ~_found(i[open_].astype(np.int64) * n + j[open_], never)
        alive = np.zeros(n, bool)  # a cluster none of whose pairs reaches `least` never will
        alive[i[open_]] = alive[j[open_]] = True
        of_use = alive[i] & alive[j]
        i, j, value, open_ = i[of_use], j[of_use], value[of_use], open_[of_use]
        never = never[alive[never // n] & alive[never % n]]
        a, b, mean = _mutual(i[open_], j[open_], value[open_] / (size[i[open_]] * size[j[open_]]), n)
        if not len(a):
            break
        if radius is not None:
            members = _members(_ends(target)[label])
            both = [np.concatenate([members[x], members[y]]) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
            wide = np.array([_spread(points[rows]) > radius for rows in both])
            never = np.sort(np.append(never, a[wide].astype(np.int64) * n + b[wide]))
            a, b, mean = a[~wide], b[~wide], mean[~wide]
        merges += zip(a.tolist(), b.tolist(), mean.tolist(), strict=True)
        size[a] += size[b]
        target[b] = a
        step = np.arange(n)
        step[b] = a
        i, j, value = _contracted(sparse.coo_matrix((value, (i, j)), shape=(n, n)), step)
        never = _renamed(never, step, n)
    merges.sort(key=lambda merge: -merge[2])
    return _ends(target)[label], merges


def lowest(names: np.ndarray) -> np.ndarray:
    """The lowest node of the same name as each node, int [n]."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return first[inverse]


def cut(start: np.ndarray, merges: list[tuple[int, int, float]], least: float) -> np.ndarray:
    """The label of each node, int [n], after those merges of `average` from `start` (int [n], the lowest node of each
    cluster) whose similarity is at least `least`."""
    target = start.copy()
    for i, j, alike in merges:
        if alike >= least:
            target[j] = i
    return _ends(target)


def _ends(target: np.ndarray) -> np.ndarray:
    """Where each node's way from target to target ends."""
    while not np.array_equal(target[target], target):
        target = target[target]
    return target


def _contracted(pairs: sparse.coo_matrix, name: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs with their nodes renamed, those of equal names added up: i < j, and values, float64."""
    i, j = name[pairs.row], name[pairs.col]
    apart = i != j
    i, j = np.minimum(i, j)[apart], np.maximum(i, j)[apart]
    sums = sparse.coo_matrix((pairs.data[apart].astype(np.float64), (i, j)), shape=pairs.shape).tocsr().tocoo()
    return sums.row, sums.col, sums.data


def _keys(label: np.ndarray, forbidden: sparse.csr_matrix | None, n: int) -> np.ndarray:
    """The forbidden pairs of clusters as sorted numbers i * n + j, i < j, int64."""
    if forbidden is None:
        return np.empty(0, np.int64)
    pairs = sparse.triu(forbidden, 1, "coo")
    return _renamed(pairs.row.astype(np.int64) * n + pairs.col, label, n)


def _renamed(keys: np.ndarray, name: np.ndarray, n: int) -> np.ndarray:
    """Keys with their nodes renamed, sorted, each once."""
    i, j = name[keys // n], name[keys % n]
    return sorted_unique(np.minimum(i, j) * n + np.maximum(i, j))


def _found(keys: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which of the keys are among sorted ones, bool."""
    place = np.searchsorted(ordered, keys)
    found = place < len(ordered)
    found[found] = ordered[place[found]] == keys[found]
    return found


def _members(label: np.ndarray) -> dict[int, np.ndarray]:
    """The nodes of each cluster."""
    if not len(label):
        return {}
    order = np.argsort(label, kind="stable")
    names, start = np.unique(label[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, start[1:]), strict=True))


def _mutual(i: np.ndarray, j: np.ndarray, mean: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs that are the best one of both their nodes: the most similar, among equals the lowest nodes."""
    order = np.lexsort((j, i, -mean))
    i, j, mean = i[order], j[order], mean[order]
    first = np.full(n, len(i))
    np.minimum.at(first, i, np.arange(len(i)))
    np.minimum.at(first, j, np.arange(len(i)))
    best = (first[i] == np.arange(len(i))) & (first[j] == np.arange(len(i)))
    return i[best], j[best], mean[best]


def single(
    n: int,
    relations: np.ndarray,
    forbidden: sparse.csr_matrix | None = None,
    points: np.ndarray | None = None,
    radius: float | None = None,
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Join nodes along `relations`, [M, 3] rows of (node, node, distance), in the order given.

    A join is left out that would put a forbidden pair into one set, or (radius not None) a point of `points` [n, D]
    farther than `radius` from the set's centroid. start int [n]: the lowest node of the set that each is in to begin
    with (default: every node alone). Returns as `average` does.
    """
    label, merges = np.arange(n) if start is None else start.copy(), []
    members = {name: rows.tolist() for name, rows in _members(label).items()}
    never: dict[int, set[int]] = {name: set() for name in members}
    if forbidden is not None:
        for i, j in zip(label[forbidden.nonzero()[0]].tolist(), forbidden.nonzero()[1].tolist(), strict=True):
            never[i].add(j)
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
    total = sparse.triu(pooled(similarity, group), 1).tocoo()
    near = total.data >= least * size[total.row] * size[total.col] * (1 + 1e-9)
    never = pooled(forbidden, group)[total.row[near], total.col[near]]
    return int(near.sum() - (never > 0).sum())


def pooled(pairs: sparse.csr_matrix, group: np.ndarray) -> sparse.csr_matrix:
    """The sums of what pairs [n, n] of nodes have, over the pairs of their groups (int [n], 0...), float64 [g, g]."""
    shape = group.max(initial=-1) + 1, len(group)
    pool = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), shape)
    return (pool @ pairs @ pool.T).tocsr()


def _spread(points: np.ndarray) -> float:
    """The largest cosine distance of a point to the centroid of all."""
    return float((1 - points @ unit(points.sum(0, keepdims=True))[0]).max())
