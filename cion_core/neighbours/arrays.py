"""Sums and centroids over groups of rows: arrays in, arrays out.

Throughout: `features` float32 [N, D] of unit length, an array or `rows.Rows`; `groups` int [N], -1
where a row has none; distances are cosine distances 1 - a·b; the centroid of some rows is their
mean, scaled to unit length. A *run* is a stretch of equal numbers in a sorted array: [3, 3, 5, 8,
8] has three.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from cion_core.neighbours.rows import Rows

# Rows that are worked on together: what stays in a processor's cache.
BLOCK = 4096


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1.

    Args:
        vectors: numbers [N, D].

    Returns:
        float32 [N, D]. A zero row stays zero: its distance to anything is then 1.
    """
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def group_blocks(groups: np.ndarray) -> list[np.ndarray]:
    """Cut the rows that have a group into blocks of whole groups.

    Args:
        groups: int [N], -1 for none.

    Returns:
        Row numbers, ordered by group and then by row, cut between two groups after BLOCK rows or a
        few more. Example with BLOCK = 2: groups [1, 0, -1, 1, 2] give [[1, 0, 3], [4]].
    """
    rows = np.flatnonzero(groups >= 0)
    if not len(rows):
        return []
    ordered = groups[rows]
    already_sorted = not (ordered[1:] < ordered[:-1]).any()
    if not already_sorted:
        order = np.argsort(ordered, kind="stable")
        rows, ordered = rows[order], ordered[order]

    count = len(rows)
    group_ends = np.append(run_starts(ordered)[1:], count)
    wanted_cuts = np.arange(BLOCK, count, BLOCK)
    group_of_cut = np.searchsorted(group_ends, wanted_cuts)
    cuts = np.unique(group_ends[group_of_cut])
    return np.split(rows, cuts[cuts < count])


def sorted_unique(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers sorted, each once; several times as fast as np.unique."""
    numbers = np.sort(numbers)
    return numbers[run_starts(numbers)]


def run_starts(ordered: np.ndarray) -> np.ndarray:
    """The place in a sorted array at which each run begins: [3, 3, 5, 8, 8] gives [0, 2, 3]."""
    is_start = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)


def run_sums(
    features: np.ndarray, start: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Add up the rows of each run.

    Args:
        features: float32 [N, D].
        start: int [R], the first row of each run; a run ends where the next begins.
        weights: float32 [N], how much each row counts; None: all the same.

    Returns:
        float32 [R, D].
    """
    # A product with a sparse matrix is several times as fast as np.add.reduceat.
    count = len(features)
    weights = np.ones(count, np.float32) if weights is None else weights
    run_ends = np.append(start, count)
    runs = sparse.csr_matrix((weights, np.arange(count), run_ends), (len(start), count))
    return runs @ features


def group_sums(
    features: np.ndarray | Rows, groups: np.ndarray, count: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Add up the features of each group.

    Args:
        features: float32 [N, D].
        groups: int [N], from 0 to below `count`, or -1: left out.
        count: how many groups there are.
        weights: float32 [N], how much each row counts; None: all the same.

    Returns:
        float32 [count, D], zero where a group is empty.
    """
    totals = np.zeros((count, features.shape[1]), np.float32)
    for rows in group_blocks(groups):
        own_groups = groups[rows]
        start = run_starts(own_groups)
        block_weights = None if weights is None else weights[rows]
        totals[own_groups[start]] = run_sums(features[rows], start, block_weights)
    return totals


def centroids(
    features: np.ndarray | Rows, groups: np.ndarray, count: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """The unit centroid of each group, float32 [count, D]; zero where a group is empty.

    Args are those of `group_sums`.
    """
    centres = group_sums(features, groups, count, weights)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        centres[block] = unit(centres[block])
    return centres


def distances_to_own(
    features: np.ndarray | Rows, groups: np.ndarray, centres: np.ndarray
) -> np.ndarray:
    """The distance of each sample to the centroid of its own group.

    Args:
        features: float32 [N, D].
        groups: int [N], rows of `centres`; -1: none.
        centres: float32 [G, D].

    Returns:
        float32 [N], 0 where the group is -1.
    """
    distances = np.zeros(len(features), np.float32)
    for start in range(0, len(features), BLOCK):
        rows = start + np.flatnonzero(groups[start : start + BLOCK] >= 0)
        cosine = np.einsum("nd,nd->n", features[rows], centres[groups[rows]])
        distances[rows] = 1 - cosine
    return np.maximum(distances, 0)


def distances_to_others(features: np.ndarray | Rows, groups: np.ndarray) -> np.ndarray:
    """The distance of each sample to the centroid of its group's other samples.

    Returns:
        float32 [N], 0 where there are no others.
    """
    distances = np.zeros(len(groups), np.float32)
    for rows in group_blocks(groups):
        distances[rows] = run_distances_to_others(features[rows], run_starts(groups[rows]))
    return distances


def run_distances_to_others(features: np.ndarray, start: np.ndarray) -> np.ndarray:
    """`distances_to_others` where each run is a group.

    One pass over the rows is enough. Let S be the sum of a run and f one of its rows, of length 1.
    The others add up to S - f, so::

        f · (S - f) = f·S - 1      and      |S - f|² = S·S - 2 f·S + 1.

    Args:
        features: float32 [N, D].
        start: int [R], the first row of each run.

    Returns:
        float32 [N], 0 where a run is one row, 1 where the others add up to nothing.
    """
    size = np.diff(start, append=len(features))
    run_of_row = np.repeat(np.arange(len(start)), size)
    total = run_sums(features, start)
    with_total = np.einsum("nd,nd->n", features, total[run_of_row])
    total_squared = np.einsum("nd,nd->n", total, total)[run_of_row]

    with_others = with_total - 1
    others_squared = total_squared - 2 * with_total + 1
    others_length = np.sqrt(np.maximum(others_squared, 1e-12))
    distance = np.clip(1 - with_others / others_length, 0, 2)
    distance[others_squared <= 1e-6] = 1
    is_alone = size[run_of_row] == 1
    distance[is_alone] = 0
    return distance.astype(np.float32)


def close_pairs(
    centres: np.ndarray, separation: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Find the pairs of centroids that are closer than `separation`.

    Args:
        centres: float32 [G, D], unit length.
        separation: a cosine distance.

    Yields:
        Blocks of (i, j, distance) with i < j; memory is bounded by the block.
    """
    count = len(centres)
    for first in range(0, count, BLOCK):
        for second in range(first, count, BLOCK):
            cosine = centres[first : first + BLOCK] @ centres[second : second + BLOCK].T
            distances = 1 - cosine
            near = distances < separation
            if first == second:
                near = np.triu(near, 1)
            i, j = np.nonzero(near)
            yield i + first, j + second, np.maximum(distances[i, j], 0)
