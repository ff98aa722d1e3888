"""Inside one video: merge identities that are alike, and find homes for crops that have none."""

from __future__ import annotations

import numpy as np

from cion_core.neighbours.arrays import centroids

# A crop goes to an identity that is at most this much as far as the next one.
CLEAR = 0.75


def merge(
    distance: np.ndarray, sizes: np.ndarray, separation: float, forbidden: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Merge the two identities of the smallest mean distance until none is below the separation.

    Average linkage: one likeness does not chain two people together.

    Args:
        distance: float32 [n, n], symmetric.
        sizes: int [n], how many crops each has, which weigh it in the mean.
        separation: a distance.
        forbidden: bool [n, n].

    Returns:
        The set that each ends in, named by its lowest identity, int [n]; and the merges (survivor,
        absorbed, distance) in order.
    """
    count = len(distance)
    distance = distance.copy()
    distance[forbidden] = np.inf
    np.fill_diagonal(distance, np.inf)
    size = sizes.astype(float)
    part_of = np.arange(count)
    merges = []
    while count and distance.min() < separation:
        i, j = sorted(divmod(int(distance.argmin()), count))
        merges.append((i, j, max(float(distance[i, j]), 0.0)))
        part_of[part_of == j] = i
        mean = (size[i] * distance[i] + size[j] * distance[j]) / (size[i] + size[j])
        mean[[i, j]] = np.inf
        size[i] += size[j]
        distance[i] = distance[:, i] = mean
        distance[j] = distance[:, j] = np.inf
    return part_of, merges


def find_homes(
    features: np.ndarray, labels: np.ndarray, radius: float, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give crops without an identity to the nearest one, if that is near and clear of the next.

    "Near" is within the radius, "clear" CLEAR times as far as the next one at most. The nearest
    crop comes first.

    Args:
        features: float32 [N, D], unit length.
        labels: int64 [N], -1: none.
        radius: a cosine distance.
        pairs: int [P, 2], rows that show different people, of which no identity takes two.

    Returns:
        The new labels int64 [N], and the distance of each crop that found a home, NaN elsewhere.
    """
    found, found_at = labels.copy(), np.full(len(labels), np.nan)
    has_identity = labels >= 0
    names, groups = np.unique(labels[has_identity], return_inverse=True)
    homeless = np.flatnonzero(~has_identity)
    if not len(names) or not len(homeless):
        return found, found_at

    # The nearest and the next identity of each.
    distance = 1 - features[homeless] @ centroids(features[has_identity], groups, len(names)).T
    line = np.arange(len(homeless))
    nearest = distance.argmin(1)
    near = distance[line, nearest]
    distance[line, nearest] = np.inf
    next_near = distance.min(1)

    # Who must not share an identity with each of them.
    never_with: dict[int, list[int]] = {}
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    for row, other in both_ways[labels[both_ways[:, 0]] < 0].tolist():
        never_with.setdefault(row, []).append(other)

    clear = np.flatnonzero((near <= radius) & (near <= CLEAR * next_near))
    for place in clear[np.lexsort((clear, near[clear]))]:
        row, name = int(homeless[place]), int(names[nearest[place]])
        if all(found[other] != name for other in never_with.get(row, ())):
            found[row] = name
            found_at[row] = max(float(near[place]), 0.0)
    return found, found_at
