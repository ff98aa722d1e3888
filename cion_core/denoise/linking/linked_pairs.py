"""Which pairs of nodes the merges of average linkage put together.

Of small merges all pairs are given, of large ones a sample.
"""

from __future__ import annotations

import numpy as np

from cion_core.denoise.linking.agglomeration import SimilarityMerges

# Pairs of a merge that are looked at, at most.
PAIRS_OF_A_MERGE = 16


def sample_linked_pairs(
    merges: SimilarityMerges, views: np.ndarray, initial_sets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of nodes of different videos that merges put together.

    A merge of sets with 3 and 4 nodes links 12 pairs, and all are given. Of a merge with more
    than PAIRS_OF_A_MERGE pairs so many are drawn, and each stands for several.

    Args:
        merges: (node, node, similarity), in the order in which they were made.
        views: int [n].
        initial_sets: int [n], the lowest node of the set that each begins in.

    Returns:
        i int, j int, the similarity of their merge float64, and how many pairs each stands for
        float64.
    """
    row, first_begin, first_size, second_begin, second_size = _sets_as_stretches(
        merges, initial_sets
    )
    similarity = np.array([alike for *_, alike in merges])

    # One line for each pair that is looked at.
    pairs = first_size * second_size
    taken = np.minimum(pairs, PAIRS_OF_A_MERGE)
    merge = np.repeat(np.arange(len(merges)), taken)

    # Pair number p of a merge: node p // size of the first set, node p % size of the second.
    run_begin = np.repeat(np.cumsum(taken) - taken, taken)
    in_turn = np.arange(len(merge)) - run_begin
    rng = np.random.default_rng(0)
    pairs_of_merge = pairs[merge]
    drawn = rng.integers(0, 1 << 62, len(merge)) % pairs_of_merge
    number = np.where(pairs_of_merge <= PAIRS_OF_A_MERGE, in_turn, drawn)
    place_in_first, place_in_second = np.divmod(number, second_size[merge])
    i = row[first_begin[merge] + place_in_first]
    j = row[second_begin[merge] + place_in_second]

    different = views[i] != views[j]
    of_merge = merge[different]
    stands_for = pairs / np.maximum(taken, 1)
    return i[different], j[different], similarity[of_merge], stands_for[of_merge]


def _sets_as_stretches(
    merges: SimilarityMerges, initial_sets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lay all nodes in one row in which every set that ever was is one stretch.

    That is possible, since a merge can always put the second set's stretch behind the first's.
    Example: nodes 0 to 3, merges (0, 2) and (0, 1): 0 2 becomes a stretch, then 0 2 1; the row is
    0 2 1 3, and the two sets of the second merge are its places 0-1 and 2.

    Args:
        merges: in the order in which they were made.
        initial_sets: int [n], the lowest node of the set that each begins in.

    Returns:
        The nodes in the row int64 [n]; and for each merge the first set's begin in it and its
        size, and the second's, int64 each.
    """
    count = len(initial_sets)
    name = initial_sets.tolist()
    size = np.bincount(initial_sets, minlength=count).tolist()
    node_after, last_of = _initial_stretches(initial_sets)

    def set_of(node: int) -> int:
        """The name of a node's set. Each call shortens the way to it for the next."""
        while name[node] != node:
            name[node] = name[name[node]]
            node = name[node]
        return node

    # Follow the merges.
    sets = np.empty((len(merges), 4), np.int64)
    for number, (node, other, _) in enumerate(merges):
        first, second = set_of(node), set_of(other)
        sets[number] = first, size[first], second, size[second]
        node_after[last_of[first]] = second
        last_of[first] = last_of[second]
        name[second] = first
        size[first] += size[second]

    # Lay out the row. A set begins where the node that names it lies.
    heads = [node for node in range(count) if name[node] == node]
    place = _places_in_row(node_after, heads)
    first, first_size, second, second_size = sets.T
    return np.argsort(place), place[first], first_size, place[second], second_size


def _initial_stretches(initial_sets: np.ndarray) -> tuple[list[int], list[int]]:
    """The sets that nodes begin in, as stretches.

    Returns:
        The node after each node in its set (-1: none); the last node of each set, at the
        place of its lowest.
    """
    count = len(initial_sets)
    order = np.argsort(initial_sets, kind="stable")
    node, following = order[:-1], order[1:]
    same_set = initial_sets[node] == initial_sets[following]
    node_after = np.full(count, -1)
    node_after[node[same_set]] = following[same_set]
    last_of = np.arange(count)
    np.maximum.at(last_of, initial_sets, np.arange(count))
    return node_after.tolist(), last_of.tolist()


def _places_in_row(node_after: list[int], heads: list[int]) -> np.ndarray:
    """The place of each node when stretches are laid one behind another, int64 [n]."""
    place = np.empty(len(node_after), np.int64)
    reached = 0
    for node in heads:
        while node >= 0:
            place[node] = reached
            reached += 1
            node = node_after[node]
    return place
