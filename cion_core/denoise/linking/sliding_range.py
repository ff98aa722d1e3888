"""The Sliding Range over the sequence of nodes of all videos, and average linkage in each position.

Example, Sliding Range 4 with stride 2 over 8 nodes: positions 0-3, 2-5, 4-7. Where position 0-3
links nodes 0 and 3, and position 2-5 links 3 and 5, nodes 0 and 5 are one set, though they shared
no position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy import sparse

from cion_core.denoise.linking import agglomeration
from cion_core.denoise.linking.nodes import LinkingResult
from cion_core.denoise.linking.saved_progress import Progress
from cion_core.errors import CionError
from cion_core.neighbours import search
from cion_core.neighbours.similarity import find_similar, similarity
from cion_core.progress import track

# The share of the machine's memory that one position may take.
MEMORY_SHARE = 0.25
# Bytes of a node beside its feature: neighbours, similarities, links (bench/denoise_scale.py).
BYTES_PER_NODE = 10_000
# Bytes of each number of its feature.
BYTES_PER_NUMBER = 12


def largest_fitting(dim: int) -> int:
    """The Sliding Range, in nodes of `dim` numbers, whose position fits in this machine."""
    memory = MEMORY_SHARE * psutil.virtual_memory().total
    bytes_per_node = BYTES_PER_NODE + BYTES_PER_NUMBER * dim
    return max(2, int(memory / bytes_per_node))


@dataclass(frozen=True)
class Range:
    """The Sliding Range.

    Args:
        size: nodes of one position; None: everything at once.
        stride: by how many nodes it moves on; None: half the size.
    """

    size: int | None = None
    stride: int | None = None

    @property
    def first(self) -> slice:
        """The nodes of the first position."""
        return slice(self.size)

    def positions(self, count: int) -> Iterator[np.ndarray]:
        """The nodes of each position of a sequence; the last position ends with it.

        Args:
            count: how many nodes the sequence has; with 0 there is no position.

        Raises:
            CionError: the stride is below 1, or not below the size.
        """
        if not count:
            return
        size = self.size
        if size is None or size >= count:
            yield np.arange(count)
            return
        stride = self.stride or max(1, size // 2)
        if not 1 <= stride < size:
            raise CionError(
                f"stride {stride} must be at least 1 and below the Sliding Range {size}"
            )
        last_start = count - size
        for start in range(0, last_start + stride, stride):
            begin = min(start, last_start)
            yield np.arange(begin, begin + size)

    def bounds(self, count: int) -> np.ndarray:
        """The first node of each position, and the one behind its last, int64 [P, 2]."""
        found = [(rows[0], rows[-1] + 1) for rows in self.positions(count)]
        return np.array(found, np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Position:
    """The nodes of one position, compared.

    Args:
        nearest: int32 [m, k+1], the neighbours of each node as places in the position, forbidden
            ones last.
        similar: float32 [m, m], how alike their neighbourhoods are.
    """

    nearest: np.ndarray
    similar: sparse.csr_matrix

    @classmethod
    def compare(
        cls, points: np.ndarray, forbidden: sparse.csr_matrix, nearest: np.ndarray | None = None
    ) -> Position:
        """Compare the nodes of a position.

        Args:
            points: float32 [m, D], unit length.
            forbidden: bool [m, m], pairs that can never be one.
            nearest: their neighbours, where they are known already.
        """
        if nearest is None:
            nearest = search.neighbours(points, forbidden=forbidden)
        return cls(nearest, similarity(points, nearest))


def link(
    points: np.ndarray,
    least: float,
    forbidden: sparse.csr_matrix | None = None,
    sliding: Range = Range(),
    radius: float | None = None,
    saved: Path | None = None,
    first: Position | None = None,
    initial_sets: np.ndarray | None = None,
) -> LinkingResult:
    """Average linkage on the similarity of k-reciprocal neighbourhoods, position by position.

    Each position goes on from the sets that earlier ones have made. It joins two sets if the mean
    similarity over all their members in the position is at least `least`.

    Args:
        points: float32 [n, D], unit length, in the order of the sequence.
        least: the similarity from which on two are linked; the distance of a merge is 1 -
            similarity.
        forbidden: bool [n, n], symmetric: who can never be one; None: nobody.
        sliding: the Sliding Range.
        radius: two are not joined if one of their points in the position would lie farther than
            this from their centroid; None: no bound.
        saved: a file (.npz) that a killed call with the same arguments goes on from, after its last
            position.
        first: the first position, where it has been compared already.
        initial_sets: int [n], the lowest point of the set that each begins in; None: every point
            alone.

    Returns:
        What is linked. `rule_state` has `index` int32 [n, k+1]: the neighbours of each point in its
        last position.
    """
    count = len(points)
    if forbidden is None:
        forbidden = sparse.csr_matrix((count, count), dtype=bool)
    initial_sets = np.arange(count) if initial_sets is None else initial_sets
    settings = (least, sliding.size, sliding.stride, radius)
    done = Progress.begin_or_resume(points, forbidden, initial_sets, sliding.size, settings, saved)

    positions = list(sliding.positions(count))
    left = positions[done.linked :]
    if len(positions) > 1:
        left = track(left, "Sliding Range", "position", len(positions), done.linked)
    for rows in left:
        # Step 1: compare the nodes of the position. A killed run may have done that already.
        here = first if done.linked == 0 else None
        if done.searched == done.linked:
            here = here or Position.compare(points[rows], forbidden[rows][:, rows])
            done.index[rows] = rows[here.nearest]
            done.searched += 1
            done.save(saved)
        if here is None:
            known = done.index[rows] - rows[0]
            here = Position.compare(points[rows], forbidden, known)

        # Step 2: link, going on from the sets that there are.
        own_set = done.sets[rows]
        forbidden_here = _forbidden_in_position(forbidden, done.sets, own_set)
        new_set, merges = agglomeration.average_linkage(
            here.similar, least, forbidden_here, own_set, points[rows], radius
        )

        # Step 3: write down what was joined. Places in the position become nodes of the sequence.
        close_before = agglomeration.count_close_pairs(here.similar, least, forbidden_here, own_set)
        close_after = agglomeration.count_close_pairs(here.similar, least, forbidden_here, new_set)
        done.close_pairs += (close_before, close_after)
        done.add_merges([(own_set[i], own_set[j], 1 - alike) for i, j, alike in merges])
        lowest_set = np.full(len(rows), count)
        np.minimum.at(lowest_set, new_set, own_set)
        renaming = np.arange(count)
        renaming[own_set] = lowest_set[new_set]
        done.sets = renaming[done.sets]
        done.linked += 1
        done.save(saved)
    return done.result()


def _forbidden_in_position(
    forbidden: sparse.csr_matrix, sets: np.ndarray, own_set: np.ndarray
) -> sparse.csr_matrix:
    """Which nodes of a position may not be one, for anything that their sets hold anywhere.

    Args:
        forbidden: bool [n, n], of all nodes.
        sets: int [n], the set of each node of the sequence.
        own_set: int [m], the set of each node of the position.

    Returns:
        [m, m], above 0 where they may not.
    """
    # Number the sets that the position meets from 0.
    met, number = np.unique(own_set, return_inverse=True)
    number_of = np.full(len(sets), -1)
    number_of[met] = np.arange(len(met))

    # All their members count, wherever they lie in the sequence.
    number_of_node = number_of[sets]
    members = np.flatnonzero(number_of_node >= 0)
    among_members = forbidden[members][:, members]
    between_sets = agglomeration.sum_over_groups(among_members, number_of_node[members])
    return between_sets[number][:, number]


def extend(
    points: np.ndarray,
    initial_sets: np.ndarray,
    index: np.ndarray,
    least: float,
    forbidden: sparse.csr_matrix,
    radius: float | None = None,
) -> LinkingResult:
    """Continue `link` with points that are new.

    All new points are compared with all points. Old ones are compared with one another only where
    their sets are like a new point. Old sets may merge, none is split.

    Args:
        points: float32 [n, D]: the m old points, then the new ones.
        initial_sets: int [n], the lowest point of the set that each is in: old ones as `link`
            placed them, new ones among one another.
        index: int32 [m, k+1], as `link` keeps it: after a Sliding Range, each old point's
            neighbours are those of its last position.
        least: as for `link`.
        forbidden: bool [n, n], none between an old and a new point.
        radius: as for `link`.

    Returns:
        What is linked of all points.
    """
    old, count = len(index), len(points)
    sets = initial_sets.copy()
    if old == count:
        return LinkingResult(sets, [], {"index": index}, (0, 0))

    # Step 1: neighbours of all. With few old points their lists were shorter than a list may be.
    if old <= search.WIDEST:
        index = search.neighbours(points, forbidden=forbidden)
    else:
        index = search.widen(points, index, forbidden)

    # Step 2: who takes part: the new points, and every old set with a member like one of them.
    is_new = np.arange(count) >= old
    like_new = find_similar(points, index, np.flatnonzero(is_new), least)
    in_such_set = np.isin(sets, sets[like_new])
    rows = np.flatnonzero(in_such_set | is_new)
    graph = similarity(points, index, rows)

    # Step 3: of these old sets, those that are like a new point on average.
    meets = _sets_like_new_points(graph, sets[rows], is_new[rows], least)
    rows, graph = rows[meets], graph[meets][:, meets]

    # Step 4: link them, going on from the sets that there are.
    forbidden_here = forbidden[rows][:, rows]
    own_set = sets[rows]
    new_set, merges = agglomeration.average_linkage(
        graph, least, forbidden_here, own_set, points[rows], radius
    )
    close_before = agglomeration.count_close_pairs(graph, least, forbidden_here, own_set)
    close_after = agglomeration.count_close_pairs(graph, least, forbidden_here, new_set)
    sets[rows] = rows[new_set]
    joins = [(int(rows[i]), int(rows[j]), 1 - alike) for i, j, alike in merges]
    return LinkingResult(sets, joins, {"index": index}, (close_before, close_after))


def _sets_like_new_points(
    graph: sparse.csr_matrix, own_set: np.ndarray, is_new: np.ndarray, least: float
) -> np.ndarray:
    """Which rows are new, or lie in a set whose mean similarity to a new row is at least `least`.

    Args:
        graph: float32 [r, r], the rows' similarities.
        own_set: int [r], the set of each row.
        is_new: bool [r].
        least: a similarity.

    Returns:
        bool [r].
    """
    _, number, size = np.unique(own_set, return_inverse=True, return_counts=True)
    count = len(own_set)
    membership = sparse.csr_matrix((np.ones(count), (np.arange(count), number)))
    mean = (graph[is_new] @ membership).multiply(1 / size).tocoo()
    like = mean.col[mean.data >= least]
    return np.isin(number, like) | is_new
