"""Agglomeration: nodes of a sparse graph are merged into sets, unless a cannot-link forbids it.

A set is named by its lowest node. So after merging nodes 2, 5 and 7 the set of each is 2.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from cion_core.denoise.linking.pairs import PairKeys, sum_over_names
from cion_core.neighbours.arrays import unit

# Joins of two sets, as (node, node, similarity) and as (node, node, distance).
SimilarityMerges = list[tuple[int, int, float]]
DistanceMerges = list[tuple[int, int, float]]


def average_linkage(
    similarity: sparse.csr_matrix,
    least: float,
    forbidden: sparse.csr_matrix | None = None,
    initial_sets: np.ndarray | None = None,
    points: np.ndarray | None = None,
    radius: float | None = None,
) -> tuple[np.ndarray, SimilarityMerges]:
    """Merge the most similar pair of sets until none is similar enough.

    The similarity of two sets is the mean over all pairs of their members. Ties go to the lower
    nodes.

    All pairs of sets that are each other's most similar merge at once. No merge makes a set
    more similar to a third than its parts were, so the result is that of one merge at a time
    (Murtagh, The Computer Journal 26, 1983), and takes some tens of rounds.

    Args:
        similarity: [n, n], symmetric; absent entries are 0, and count in the mean.
        least: sets that are less similar stay apart.
        forbidden: bool [n, n], symmetric: nodes that may never share a set; None: none.
        initial_sets: int [n], the sets to begin with, as any names; None: every node alone.
        points: float32 [n, D], unit length; needed with `radius`.
        radius: two sets stay apart for good if their union would have a point farther than this
            from its centroid; None: no bound.

    Returns:
        The set of each node, int [n], and the merges, the most similar first, as (node, node,
        similarity), where the nodes name the two sets.
    """
    count = similarity.shape[0]
    first_sets = np.arange(count) if initial_sets is None else lowest_of_each(initial_sets)
    size = np.bincount(first_sets, minlength=count)
    i, j, total = sum_over_names(sparse.triu(similarity, 1, "coo"), first_sets)
    forbidden_pairs = PairKeys.of(forbidden, count).renamed(first_sets)
    merges: SimilarityMerges = []
    merged_into = np.arange(count)

    while True:
        # Step 1: which pairs could merge. The mean is compared as a product, so that it is
        # computed alike from both sides.
        could_merge = total >= least * size[i] * size[j]
        is_forbidden = forbidden_pairs.contains(i[could_merge], j[could_merge])
        could_merge[could_merge] = ~is_forbidden

        # Step 2: forget sets that never will, for none of their pairs is similar enough.
        alive = np.zeros(count, bool)
        alive[i[could_merge]] = True
        alive[j[could_merge]] = True
        both_alive = alive[i] & alive[j]
        i, j, total, could_merge = (column[both_alive] for column in (i, j, total, could_merge))
        forbidden_pairs = forbidden_pairs.among(alive)

        # Step 3: the pairs that are each other's best.
        first, second = i[could_merge], j[could_merge]
        pairs_of_nodes = size[first] * size[second]
        mean = total[could_merge] / pairs_of_nodes
        survivor, absorbed, mean = _mutually_best(first, second, mean, count)
        if not len(survivor):
            break

        # Step 4: of these, the ones that would be too wide are never asked again.
        if radius is not None:
            sets = _follow(merged_into)[first_sets]
            wide = _radii_of_unions(points, sets, survivor, absorbed) > radius
            forbidden_pairs = forbidden_pairs.with_pairs(survivor[wide], absorbed[wide])
            survivor, absorbed, mean = (column[~wide] for column in (survivor, absorbed, mean))

        # Step 5: merge them, and add up what is now one pair.
        merges += zip(survivor.tolist(), absorbed.tolist(), mean.tolist(), strict=True)
        size[survivor] += size[absorbed]
        merged_into[absorbed] = survivor
        renaming = np.arange(count)
        renaming[absorbed] = survivor
        graph = sparse.coo_matrix((total, (i, j)), shape=(count, count))
        i, j, total = sum_over_names(graph, renaming)
        forbidden_pairs = forbidden_pairs.renamed(renaming)

    merges.sort(key=lambda merge: -merge[2])
    return _follow(merged_into)[first_sets], merges


def single_linkage(
    count: int,
    relations: np.ndarray,
    forbidden: sparse.csr_matrix | None = None,
    points: np.ndarray | None = None,
    radius: float | None = None,
    initial_sets: np.ndarray | None = None,
) -> tuple[np.ndarray, DistanceMerges]:
    """Join nodes along relations, in the order given.

    Args:
        count: how many nodes there are.
        relations: [M, 3] rows of (node, node, distance).
        forbidden: bool [n, n]: a join that would put such a pair into one set is left out.
        points: float32 [n, D], unit length; needed with `radius`.
        radius: a join is left out if a point would lie farther than this from the set's
            centroid; None: no bound.
        initial_sets: int [n], the lowest node of the set that each begins in;
            None: every node alone.

    Returns:
        As `average_linkage`, merges in the order in which they were made, with distances.
    """
    sets = np.arange(count) if initial_sets is None else initial_sets.copy()
    merges: DistanceMerges = []
    members = {name: rows.tolist() for name, rows in _members(sets).items()}

    # forbidden_to[a]: the nodes that the set named a must not take in.
    forbidden_to: dict[int, set[int]] = {name: set() for name in members}
    if forbidden is not None:
        rows, columns = forbidden.nonzero()
        for name, other in zip(sets[rows].tolist(), columns.tolist(), strict=True):
            forbidden_to[name].add(other)

    for i, j, distance in relations:
        survivor, absorbed = sorted((int(sets[int(i)]), int(sets[int(j)])))
        if survivor == absorbed:
            continue
        if not forbidden_to[survivor].isdisjoint(members[absorbed]):
            continue
        union = members[survivor] + members[absorbed]
        if radius is not None and _radius_of(points[union]) > radius:
            continue
        sets[members[absorbed]] = survivor
        members[survivor] = union
        forbidden_to[survivor] |= forbidden_to[absorbed]
        del members[absorbed]
        merges.append((survivor, absorbed, float(distance)))
    return sets, merges


def apply_merges(initial_sets: np.ndarray, merges: SimilarityMerges, least: float) -> np.ndarray:
    """The set of each node after those merges that are similar enough.

    Args:
        initial_sets: int [n], the lowest node of the set that each begins in.
        merges: what `average_linkage` made from `initial_sets`.
        least: the similarity from which on a merge counts.

    Returns:
        int [n].
    """
    merged_into = initial_sets.copy()
    for survivor, absorbed, similarity in merges:
        if similarity >= least:
            merged_into[absorbed] = survivor
    return _follow(merged_into)


def lowest_of_each(names: np.ndarray) -> np.ndarray:
    """The lowest node that has the same name as each node: [7, 4, 7] gives [0, 1, 0]."""
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    return first[place]


def count_close_pairs(
    similarity: sparse.csr_matrix, least: float, forbidden: sparse.csr_matrix, sets: np.ndarray
) -> int:
    """Count the pairs of sets that may be one and are at least this similar on average.

    Args:
        similarity: [n, n], symmetric.
        least: the mean similarity from which on a pair is close.
        forbidden: bool [n, n], symmetric.
        sets: int [n], the set of each node, as any names.

    Returns:
        The number of pairs.
    """
    _, group, size = np.unique(sets, return_inverse=True, return_counts=True)
    total = sparse.triu(sum_over_groups(similarity, group), 1).tocoo()
    i, j = total.row, total.col
    # A hair above, so that a mean that equals `least` but for rounding is not counted.
    enough = least * size[i] * size[j] * (1 + 1e-9)
    near = total.data >= enough
    forbidden_pairs = sum_over_groups(forbidden, group)[i[near], j[near]]
    is_forbidden = forbidden_pairs > 0
    return int(near.sum() - is_forbidden.sum())


def sum_over_groups(pairs: sparse.csr_matrix, group: np.ndarray) -> sparse.csr_matrix:
    """Add up a matrix of node pairs over the pairs of their groups.

    Args:
        pairs: [n, n].
        group: int [n], from 0 without a gap.

    Returns:
        float64 [g, g].
    """
    count = len(group)
    shape = group.max(initial=-1) + 1, count
    membership = sparse.csr_matrix((np.ones(count), (group, np.arange(count))), shape)
    return (membership @ pairs @ membership.T).tocsr()


def _follow(merged_into: np.ndarray) -> np.ndarray:
    """Where each node's way ends: [0, 0, 1] says 2 → 1 → 0, and gives [0, 0, 0]."""
    while not np.array_equal(merged_into[merged_into], merged_into):
        merged_into = merged_into[merged_into]
    return merged_into


def _members(sets: np.ndarray) -> dict[int, np.ndarray]:
    """The nodes of each set, by its name."""
    if not len(sets):
        return {}
    order = np.argsort(sets, kind="stable")
    names, first_place = np.unique(sets[order], return_index=True)
    nodes = np.split(order, first_place[1:])
    return dict(zip(names.tolist(), nodes, strict=True))


def _mutually_best(
    i: np.ndarray, j: np.ndarray, mean: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs that are the best one of both their nodes; among equals the lowest nodes win."""
    order = np.lexsort((j, i, -mean))
    i, j, mean = i[order], j[order], mean[order]
    rank = np.arange(len(i))
    best_rank = np.full(count, len(i))
    np.minimum.at(best_rank, i, rank)
    np.minimum.at(best_rank, j, rank)
    best_of_i = best_rank[i] == rank
    best_of_j = best_rank[j] == rank
    mutual = best_of_i & best_of_j
    return i[mutual], j[mutual], mean[mutual]


def _radii_of_unions(
    points: np.ndarray, sets: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """The radius that each pair of sets would have as one, float64 [m].

    Args:
        points: float32 [n, D], unit length.
        sets: int [n], the set of each node.
        first: int [m], the name of the one set.
        second: int [m], and of the other.
    """
    members = _members(sets)
    radii = []
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        union = np.concatenate([members[one], members[other]])
        radii.append(_radius_of(points[union]))
    return np.array(radii)


def _radius_of(points: np.ndarray) -> float:
    """The largest cosine distance of a point to the centroid of all."""
    centroid = unit(points.sum(0, keepdims=True))[0]
    return float((1 - points @ centroid).max())
