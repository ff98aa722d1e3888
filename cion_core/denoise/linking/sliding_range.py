"""The Sliding Range over the sequence of identities of all videos, and average linkage in each of its positions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy import sparse

from cion_core import neighbours, work
from cion_core.denoise.linking import agglomeration
from cion_core.denoise.linking.nodes import Linked
from cion_core.errors import CionError
from cion_core.neighbours import search
from cion_core.neighbours.similarity import find_similar, similarity
from cion_core.progress import say, track

OF_MEMORY = 0.25  # share of the machine's memory that one position of the Sliding Range may take
PER_IDENTITY = 10_000  # bytes beside its feature: neighbours, similarities, links (bench/denoise_scale.py)
ARRAYS = ("place", "merges", "index", "close")  # of what is saved
CODE = sorted(  # what other code left is not gone on from
    path for folder in (Path(__file__).parent, Path(neighbours.__file__).parent) for path in folder.glob("*.py")
)


def fitting(dim: int) -> int:
    """The Sliding Range, in identities of `dim` numbers, whose position fits in this machine."""
    return max(2, int(OF_MEMORY * psutil.virtual_memory().total / (PER_IDENTITY + 12 * dim)))


@dataclass(frozen=True)
class Range:
    """The Sliding Range: `size` nodes at a time, moved on by `stride` (None: half the size).

    size None: everything at once.
    """

    size: int | None = None
    stride: int | None = None

    @property
    def first(self) -> slice:
        """The nodes of the first position."""
        return slice(self.size)

    def positions(self, n: int) -> Iterator[np.ndarray]:
        """The nodes of each position, of n; the last ends with the sequence. None if n is 0."""
        size = self.size
        if size is None or size >= n:
            yield from [np.arange(n)] if n else []
            return
        stride = self.stride or max(1, size // 2)
        if not 1 <= stride < size:
            raise CionError(f"stride {stride} must be at least 1 and below the Sliding Range {size}")
        starts = range(0, n - size + stride, stride)
        for start in starts:
            yield np.arange(min(start, n - size), min(start, n - size) + size)

    def bounds(self, n: int) -> np.ndarray:
        """The first node of each position of n and the one behind its last, int64 [P, 2]."""
        found = [(rows[0], rows[-1] + 1) for rows in self.positions(n)]
        return np.array(found, np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Position:
    """The points of one position of the Sliding Range, compared: index int32 [m, k+1], the neighbours of each as places
    in it, forbidden ones last; similar float32 [m, m], how alike their neighbourhoods are."""

    index: np.ndarray
    similar: sparse.csr_matrix

    @classmethod
    def of(cls, points: np.ndarray, forbidden: sparse.csr_matrix, index: np.ndarray | None = None) -> Position:
        """Of points float32 [m, D] and forbidden bool [m, m]; index, where it is known already."""
        index = search.neighbours(points, forbidden=forbidden) if index is None else index
        return cls(index, similarity(points, index))


def link(
    points: np.ndarray,
    similar: float,
    forbidden: sparse.csr_matrix | None = None,
    sliding: Range = Range(),
    radius: float | None = None,
    saved: Path | None = None,
    first: Position | None = None,
    start: np.ndarray | None = None,
) -> Linked:
    """Average linkage on the Jaccard similarity of k-reciprocal neighbourhoods, position by position.

    Each position goes on from the identities that earlier ones have linked, and joins two only if the mean
    similarity over all their members in the position is at least `similar` (and, if `radius` is given, none of
    their points in it is farther than that from their centroid). The distance of a merge is 1 - similarity. Kept is
    index int32 [n, k+1]: the neighbours of each point in its last position.
    saved: a file (.npz) that a killed call with the same arguments goes on from, after its last position.
    first: the first position, where it has been compared already.
    start int [n]: the lowest point of the set that each begins in (default: every point alone).
    """
    n = len(points)
    forbidden = forbidden if forbidden is not None else sparse.csr_matrix((n, n), dtype=bool)
    start = np.arange(n) if start is None else start
    steps = list(sliding.positions(n))
    state = _State.start(points, forbidden, start, saved, similar, sliding.size, sliding.stride, radius)
    left = steps[state.done :]
    for rows in track(left, "Sliding Range", "position", len(steps), state.done) if len(steps) > 1 else left:
        here = first if state.done == 0 else None
        if state.searched == state.done:
            here = here or Position.of(points[rows], forbidden[rows][:, rows])
            state.index[rows] = rows[here.index]
            state.searched += 1
            state.save(saved)
        here = here or Position.of(points[rows], forbidden, state.index[rows] - rows[0])
        graph = here.similar
        own = state.place[rows]
        apart = _apart(forbidden, state.place, own)
        local, merges = agglomeration.average(graph, similar, apart, own, points[rows], radius)
        state.close += [agglomeration.close(graph, similar, apart, label) for label in (own, local)]
        joined = np.array([(*sorted((own[i], own[j])), 1 - s) for i, j, s in merges]).reshape(-1, 3)
        state.merges = np.concatenate([state.merges, joined])
        lowest = np.full(len(rows), n)
        np.minimum.at(lowest, local, own)
        target = np.arange(n)
        target[own] = lowest[local]
        state.place = target[state.place]
        state.done += 1
        state.save(saved)
    merges = [(int(i), int(j), d) for i, j, d in state.merges.tolist()]
    return Linked(state.place, merges, {"index": state.index}, tuple(state.close.tolist()))


def _apart(forbidden: sparse.csr_matrix, place: np.ndarray, own: np.ndarray) -> sparse.csr_matrix:
    """Which nodes of a position, int [m] by the set of each, may not be one for anything that their sets hold."""
    names, at = np.unique(own, return_inverse=True)
    group = np.full(len(place), -1)
    group[names] = np.arange(len(names))
    members = np.flatnonzero(group[place] >= 0)  # of the sets, wherever they lie
    return agglomeration.pooled(forbidden[members][:, members], group[place[members]])[at][:, at]


@dataclass
class _State:
    """How far linking has come: positions whose neighbours are found, and those that are done."""

    key: str
    searched: int
    done: int
    place: np.ndarray
    merges: np.ndarray
    index: np.ndarray
    close: np.ndarray

    @classmethod
    def start(
        cls,
        points: np.ndarray,
        forbidden: sparse.csr_matrix,
        place: np.ndarray,
        saved: Path | None,
        *settings: float | None,
    ) -> _State:
        """Where the same work was saved, or nowhere yet: every point in the set `place`."""
        n = len(points)
        key = hashlib.sha256(repr((points.shape, settings)).encode())
        if saved:
            key.update(work.key(None, *CODE).encode())
            for array in (points, forbidden.indptr, forbidden.indices, place):
                key.update(np.ascontiguousarray(array).data)
        key = key.hexdigest()
        if saved and saved.is_file():
            with np.load(saved) as file:
                if str(file["key"]) == key:
                    state = cls(key, int(file["searched"]), int(file["done"]), *(file[name] for name in ARRAYS))
                    say(f"denoise: linking goes on after {state.done} positions of an earlier run")
                    return state
        size = settings[1]
        width = 1 + max(0, min(search.WIDEST, (min(size, n) if size else n) - 1))
        return cls(key, 0, 0, place, np.empty((0, 3)), np.zeros((n, width), np.int32), np.zeros(2, np.int64))

    def save(self, path: Path | None) -> None:
        """Write all of it, atomically."""
        if path:
            with work.atomic(path) as temporary:
                np.savez(temporary, **vars(self))


def extended(
    points: np.ndarray,
    start: np.ndarray,
    index: np.ndarray,
    similar: float,
    forbidden: sparse.csr_matrix,
    radius: float | None = None,
) -> Linked:
    """Continue `link`: the points behind those of `index` (as `link` gives it: after a Sliding Range, each old point's
    neighbours are those of its last position) are new. start int [n]: the lowest point of the set that each is in: old
    ones as `link` placed them, new ones among one another.

    All new points are compared with all points, old ones with one another only where their sets are like a new point.
    Old sets may merge, none is split. forbidden: bool [n, n] over all points, none between an old and a new one.
    """
    m, n = len(index), len(points)
    fresh, own = np.arange(m, n), start.copy()
    if m == n:
        return Linked(own, [], {"index": index}, (0, 0))
    if m <= search.WIDEST:  # there was less to compare with than a list holds
        index = search.neighbours(points, forbidden=forbidden)
    else:
        index = search.widen(points, index, forbidden)
    like = find_similar(points, index, fresh, similar)
    rows = np.flatnonzero(np.isin(own, own[like]) | (np.arange(n) >= m))
    graph = similarity(points, index, rows)
    _, group, size = np.unique(own[rows], return_inverse=True, return_counts=True)
    pool = sparse.csr_matrix((np.ones(len(rows)), (np.arange(len(rows)), group)))
    mean = (graph[rows >= m] @ pool).multiply(1 / size).tocoo()  # of each new point and each set
    met = np.isin(group, mean.col[mean.data >= similar]) | (rows >= m)
    rows, graph = rows[met], graph[met][:, met]
    apart, sets = forbidden[rows][:, rows], own[rows]
    label, merges = agglomeration.average(graph, similar, apart, sets, points[rows], radius)
    close = tuple(agglomeration.close(graph, similar, apart, found) for found in (sets, label))
    own[rows] = rows[label]
    joins = [(int(rows[x]), int(rows[y]), 1 - s) for x, y, s in merges]
    return Linked(own, joins, {"index": index}, close)
