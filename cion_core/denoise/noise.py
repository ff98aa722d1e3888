"""Noise of a labelling: which samples lie outside their identity's sphere, and which spheres are too close (DESIGN §4).

Throughout this room: `features` float32 [N, D] of unit length; `labels` int64 [N], -1 where a crop has no identity;
distances are cosine distances 1 - a·b; an identity's centroid is the unit-length mean of its features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 2048


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


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a zero row stays zero (its distance to anything is then 1)."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def sums(features: np.ndarray, groups: np.ndarray, n: int) -> np.ndarray:
    """Sum of the features of each of `n` groups, float32 [n, D]; `groups` int [N] in 0..n-1 or -1 (left out)."""
    rows = np.flatnonzero(groups >= 0)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    present, starts = np.unique(groups[rows], return_index=True)
    out = np.zeros((n, features.shape[1]), np.float32)
    if len(rows):
        out[present] = np.add.reduceat(features[rows], starts, axis=0)
    return out


def centroids(features: np.ndarray, groups: np.ndarray, n: int) -> np.ndarray:
    """Unit centroid of each of `n` groups, float32 [n, D]; zero where a group is empty."""
    return unit(sums(features, groups, n))


def to_own(features: np.ndarray, groups: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Distance of each sample to the centroid of its own group, float32 [N]; 0 where the group is -1."""
    out = np.zeros(len(features), np.float32)
    for start in range(0, len(features), BLOCK * 8):
        rows = start + np.flatnonzero(groups[start : start + BLOCK * 8] >= 0)
        out[rows] = 1 - np.einsum("nd,nd->n", features[rows], centres[groups[rows]])
    return np.maximum(out, 0)


def close_pairs(centres: np.ndarray, separation: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (i, j, distance) with i < j and distance < separation; memory is bounded by the block."""
    for start in range(0, len(centres), BLOCK):
        distances = 1 - centres[start : start + BLOCK] @ centres[start:].T
        i, j = np.nonzero(np.triu(distances < separation, 1))
        yield i + start, j + start, np.maximum(distances[i, j], 0)


def measure(
    features: np.ndarray, labels: np.ndarray, noise: Noise, scope: np.ndarray | None = None, forbidden=None
) -> Measured:
    """The noise of `labels` at the thresholds of `noise`.

    `scope` int [N]: only identities of one scope (one video) are compared with each other; None: all are.
    `forbidden` sparse bool [n, n] over the sorted identities: pairs that may never be one (close, but no noise).
    """
    names, groups = np.unique(labels[labels >= 0], return_inverse=True)
    kept = features[labels >= 0]
    if not len(names):
        return Measured(0, 0, None, None, 0.0, 0.0)
    centres = centroids(kept, groups, len(names))
    distances = to_own(kept, groups, centres)
    radii = np.zeros(len(names), np.float32)
    np.maximum.at(radii, groups, distances)
    close = None
    if noise.separation is not None:
        scopes = np.zeros(len(names), np.int64)
        if scope is not None:
            scopes[groups] = scope[labels >= 0]
        close = 0
        for members in np.split(np.argsort(scopes, kind="stable"), np.cumsum(np.unique(scopes, return_counts=True)[1])):
            for i, j, _ in close_pairs(centres[members], noise.separation):
                i, j = members[i], members[j]
                close += len(i) - (0 if forbidden is None else int(forbidden[i, j].sum()))
    return Measured(
        crops=len(kept),
        identities=len(names),
        outside=None if noise.radius is None else int((distances > noise.radius).sum()),
        close_pairs=close,
        mean_radius=float(radii.mean()),
        largest_radius=float(radii.max()),
    )
