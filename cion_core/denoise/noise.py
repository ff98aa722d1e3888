"""Noise of a labelling: which samples lie outside their identity's sphere, and which spheres are too close (DESIGN §4).

Throughout this room: `features` float32 [N, D] of unit length, an array or `rows.Rows`; `labels` int64 [N], -1 where
a crop has no identity; distances are cosine distances 1 - a·b; an identity's centroid is the unit-length mean of its
features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cion_core.neighbours.rows import Rows

BLOCK = 4096  # rows worked on together: what stays in a processor's cache


@dataclass(frozen=True)
class Noise:
    """What a level tolerates: samples within `radius` of their centroid, centroids at least `separation` apart.

    None: calibrated from the data.
    """

    radius: float | None = None
    separation: float | None = None


@dataclass(frozen=True)
class Measured:
    """The noise of a labelling: what violates consistency and discrimination; a distance is None with no threshold."""

    crops: int
    identities: int
    outside: int | None  # crops farther than the radius from their centroid
    close_pairs: int | None  # pairs of identities that may be one and are closer than the separation
    mean_radius: float
    largest_radius: float

    def __add__(self, other: Measured) -> Measured:
        """Of both labellings, which share no identity; pairs between them are not compared."""
        n = self.identities + other.identities
        return Measured(
            crops=self.crops + other.crops,
            identities=n,
            outside=_sum(self.outside, other.outside),
            close_pairs=_sum(self.close_pairs, other.close_pairs),
            mean_radius=(self.mean_radius * self.identities + other.mean_radius * other.identities) / max(n, 1),
            largest_radius=max(self.largest_radius, other.largest_radius),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else a + b


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


def added(features: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sum of the rows from each start to the next, [len(start), D]."""
    n = len(features)  # several times as fast as np.add.reduceat
    runs = sparse.csr_matrix((np.ones(n, np.float32), np.arange(n), np.append(start, n)), (len(start), n))
    return runs @ features


def sums(features: np.ndarray | Rows, groups: np.ndarray, n: int) -> np.ndarray:
    """Sum of the features of each of `n` groups, float32 [n, D]; `groups` int [N] in 0..n-1 or -1 (left out)."""
    out = np.zeros((n, features.shape[1]), np.float32)
    for rows in whole(groups):
        start = starts(groups[rows])
        out[groups[rows[start]]] = added(features[rows], start)
    return out


def centroids(features: np.ndarray | Rows, groups: np.ndarray, n: int) -> np.ndarray:
    """Unit centroid of each of `n` groups, float32 [n, D]; zero where a group is empty."""
    out = sums(features, groups, n)
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


def close_pairs(centres: np.ndarray, separation: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (i, j, distance) with i < j and distance < separation; memory is bounded by the block."""
    for first in range(0, len(centres), BLOCK):
        for second in range(first, len(centres), BLOCK):
            distances = 1 - centres[first : first + BLOCK] @ centres[second : second + BLOCK].T
            near = distances < separation
            i, j = np.nonzero(np.triu(near, 1) if first == second else near)
            yield i + first, j + second, np.maximum(distances[i, j], 0)


class Tally:
    """The noise of a labelling, counted piece by piece; identities of different pieces are not compared."""

    def __init__(self, limit: Noise) -> None:
        self.limit = limit
        self.crops, self.outside, self.close = 0, 0, 0
        self.names, self.radii = [np.empty(0, np.int64)], [np.empty(0, np.float32)]

    def spheres(self, labels: np.ndarray, distances: np.ndarray) -> None:
        """Count samples: the identity of each (none -1), and how far it lies from that identity's centroid."""
        names, groups = np.unique(labels, return_inverse=True)
        radii = np.zeros(len(names), np.float32)
        np.maximum.at(radii, groups, distances)
        self.names.append(names)
        self.radii.append(radii)
        self.crops += len(labels)
        if self.limit.radius is not None:
            self.outside += int((distances > self.limit.radius).sum())

    def add(self, features: np.ndarray, labels: np.ndarray, forbidden: np.ndarray | sparse.csr_matrix | None) -> None:
        """Count samples and pairs of identities; labels int [N], -1 is left out; `forbidden` as for `measure`."""
        kept = labels >= 0
        names, groups = np.unique(labels[kept], return_inverse=True)
        member = np.full(len(labels), -1)
        member[kept] = groups
        centres = centroids(features, member, len(names))
        self.spheres(labels[kept], to_own(features, member, centres)[kept])
        if self.limit.separation is not None:
            for i, j, _ in close_pairs(centres, self.limit.separation):
                self.close += len(i) - (0 if forbidden is None else int(forbidden[i, j].sum()))

    def measured(self) -> Measured:
        """The noise of everything that was added."""
        names, radii = np.concatenate(self.names), np.concatenate(self.radii)
        if not len(names):
            return Measured(0, 0, None, None, 0.0, 0.0)
        return Measured(
            crops=self.crops,
            identities=len(names),
            outside=None if self.limit.radius is None else self.outside,
            close_pairs=None if self.limit.separation is None else self.close,
            mean_radius=float(radii[np.argsort(names)].mean()),
            largest_radius=float(radii.max()),
        )


def measure(
    features: np.ndarray | Rows,
    labels: np.ndarray,
    noise: Noise,
    forbidden: np.ndarray | sparse.csr_matrix | None = None,
) -> Measured:
    """The noise of `labels` at the thresholds of `noise`.

    `forbidden` bool [n, n] over the sorted identities: pairs that may never be one (close, but no noise).
    """
    tally = Tally(noise)
    tally.add(features, labels, forbidden)
    return tally.measured()
