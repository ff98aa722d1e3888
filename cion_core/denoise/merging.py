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
    sets = np.arange(count)
    merges = []
    while count and distance.min() < separation:
        nearest = int(distance.argmin())
        survivor, absorbed = sorted(divmod(nearest, count))
        apart = max(float(distance[survivor, absorbed]), 0.0)
        merges.append((survivor, absorbed, apart))
        sets[sets == absorbed] = survivor

        # The distance of the union to each identity: the mean over the crops of both.
        total = size[survivor] * distance[survivor] + size[absorbed] * distance[absorbed]
        size[survivor] += size[absorbed]
        mean = total / size[survivor]
        mean[[survivor, absorbed]] = np.inf
        distance[survivor] = distance[:, survivor] = mean
        distance[absorbed] = distance[:, absorbed] = np.inf
    return sets, merges


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
    found = labels.copy()
    found_at = np.full(len(labels), np.nan)
    has_identity = labels >= 0
    identities, groups = np.unique(labels[has_identity], return_inverse=True)
    homeless = np.flatnonzero(~has_identity)
    if not len(identities) or not len(homeless):
        return found, found_at

    # The nearest and the next identity of each.
    centres = centroids(features[has_identity], groups, len(identities))
    distance = 1 - features[homeless] @ centres.T
    line = np.arange(len(homeless))
    nearest = distance.argmin(1)
    near = distance[line, nearest]
    distance[line, nearest] = np.inf
    next_near = distance.min(1)

    # Who must not share an identity with each of them.
    forbidden_with: dict[int, list[int]] = {}
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    is_homeless = labels[both_ways[:, 0]] < 0
    for row, other in both_ways[is_homeless].tolist():
        forbidden_with.setdefault(row, []).append(other)

    is_near = near <= radius
    is_clear = near <= CLEAR * next_near
    places = np.flatnonzero(is_near & is_clear)
    nearest_first = np.lexsort((places, near[places]))
    for place in places[nearest_first]:
        row = int(homeless[place])
        home = int(identities[nearest[place]])
        if all(found[other] != home for other in forbidden_with.get(row, ())):
            found[row] = home
            found_at[row] = max(float(near[place]), 0.0)
    return found, found_at
