"""Sums and centroids over groups of rows, and the numbers that group them: arrays in, arrays out.

Throughout: `features` float32 [N, D] of unit length, an array or `rows.Rows`; `groups` int [N], -1 where a row has
none; distances are cosine distances 1 - a·b; the centroid of some rows is their mean, scaled to unit length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from cion_core.neighbours.rows import Rows

BLOCK = 4096  # rows worked on together: what stays in a processor's cache


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a zero row stays zero (its distance to anything is then 1)."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def whole(groups: np.ndarray) -> list[np.ndarray]:
    """The rows with a group (not -1), by group and then by row, cut between groups after BLOCK rows or a few more."""
    rows = np.flatnonzero(groups >= 0)
    ordered = groups[rows]
    if (ordered[1:] < ordered[:-1]).any():
        order = np.argsort(ordered, kind="stable")
        rows, ordered = rows[order], ordered[order]
    ends = np.append(starts(ordered)[1:], len(rows))
    cuts = np.unique(ends[np.searchsorted(ends, np.arange(BLOCK, len(rows), BLOCK))])
    return np.split(rows, cuts[cuts < len(rows)]) if len(rows) else []


def once(keys: np.ndarray) -> np.ndarray:
    """Whole numbers sorted, each once; several times as fast as np.unique."""
    keys = np.sort(keys)
    return keys[starts(keys)]


def starts(ordered: np.ndarray) -> np.ndarray:
    """Where in sorted numbers each new one begins."""
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def added(features: np.ndarray, start: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum of the rows from each start to the next, [len(start), D]; weights float32 [len(features)], None: all 1."""
    n = len(features)  # several times as fast as np.add.reduceat
    weights = np.ones(n, np.float32) if weights is None else weights
    runs = sparse.csr_matrix((weights, np.arange(n), np.append(start, n)), (len(start), n))
    return runs @ features


def sums(features: np.ndarray | Rows, groups: np.ndarray, n: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum of the features of each of `n` groups, float32 [n, D]; `groups` int [N] in 0..n-1 or -1 (left out).

    weights float32 [N]: how much each row counts; None: all the same.
    """
    out = np.zeros((n, features.shape[1]), np.float32)
    for rows in whole(groups):
        start = starts(groups[rows])
        out[groups[rows[start]]] = added(features[rows], start, None if weights is None else weights[rows])
    return out


def centroids(features: np.ndarray | Rows, groups: np.ndarray, n: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Unit centroid of each of `n` groups, float32 [n, D]; zero where a group is empty. weights as for `sums`."""
    out = sums(features, groups, n, weights)
    for start in range(0, n, BLOCK):
        out[start : start + BLOCK] = unit(out[start : start + BLOCK])
    return out


def to_own(features: np.ndarray | Rows, groups: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Distance of each sample to the centroid of its own group, float32 [N]; 0 where the group is -1."""
    out = np.zeros(len(features), np.float32)
    for start in range(0, len(features), BLOCK):
        rows = start + np.flatnonzero(groups[start : start + BLOCK] >= 0)
        out[rows] = 1 - np.einsum("nd,nd->n", features[rows], centres[groups[rows]])
    return np.maximum(out, 0)


def to_others(features: np.ndarray | Rows, groups: np.ndarray) -> np.ndarray:
    """Distance of each sample to the centroid of its group's other samples, float32 [N]; 0 where there are none."""
    out = np.zeros(len(groups), np.float32)
    for rows in whole(groups):
        out[rows] = from_others(features[rows], starts(groups[rows]))
    return out


def from_others(features: np.ndarray, start: np.ndarray) -> np.ndarray:
    """`to_others` of the groups that begin at each start, float32 [N]; from one pass, as each sample has length 1."""
    size = np.diff(start, append=len(features))
    member = np.repeat(np.arange(len(start)), size)
    total = added(features, start)
    inside = np.einsum("nd,nd->n", features, total[member])
    rest = np.einsum("nd,nd->n", total, total)[member] - 2 * inside + 1  # squared length of the others' sum
    away = 1 - (inside - 1) / np.sqrt(np.maximum(rest, 1e-12))
    return np.where(size[member] > 1, np.clip(np.where(rest > 1e-6, away, 1), 0, 2), 0).astype(np.float32)


def close_pairs(centres: np.ndarray, separation: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (i, j, distance) with i < j and distance < separation; memory is bounded by the block."""
    for first in range(0, len(centres), BLOCK):
        for second in range(first, len(centres), BLOCK):
            distances = 1 - centres[first : first + BLOCK] @ centres[second : second + BLOCK].T
            near = distances < separation
            i, j = np.nonzero(np.triu(near, 1) if first == second else near)
            yield i + first, j + second, np.maximum(distances[i, j], 0)
