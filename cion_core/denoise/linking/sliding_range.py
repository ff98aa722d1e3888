"""The Sliding Range over the sequence of identities of all videos, and links in each of its positions (DESIGN §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy import sparse

from cion_core import work
from cion_core.denoise.linking import agglomeration as linkage
from cion_core.neighbours import search as nearest, k_reciprocal as reciprocal
from cion_core.denoise import noise
from cion_core.denoise.result import CODE
from cion_core.errors import CionError
from cion_core.progress import say, track

OF_MEMORY = 0.25  # share of the machine's memory that one position of the Sliding Range may take
PER_IDENTITY = 10_000  # bytes beside its feature: neighbours, similarities, links (bench/denoise_scale.py)
Merges = list[tuple[int, int, float]]
ARRAYS = ("place", "merges", "index", "close")  # of what is saved


@dataclass(frozen=True)
class Linked:
    """place int [n]: the lowest point of each point's set; merges: the joins of two sets, (point, point, distance).

    index int32 [n, k+1]: the neighbours of each point in its last position, None: links need none. close: how many
    pairs of sets that may be one were close enough to link, before and after.
    """

    place: np.ndarray
    merges: Merges
    index: np.ndarray | None = None
    close: tuple[int, int] | None = None


def fitting(dim: int) -> int:
    """The Sliding Range, in identities of `dim` numbers, whose position fits in this machine."""
    return max(2, int(OF_MEMORY * psutil.virtual_memory().total / (PER_IDENTITY + 12 * dim)))


def positions(n: int, size: int | None, stride: int | None) -> Iterator[np.ndarray]:
    """The Sliding Range: the nodes of each position, `size` at a time, moved on by `stride` (None: half the size).

    The last position ends with the sequence. size None, or at least n: one position of everything; none if n is 0.
    """
    if size is None or size >= n:
        yield from [np.arange(n)] if n else []
        return
    stride = stride or max(1, size // 2)
    if not 1 <= stride < size:
        raise CionError(f"stride {stride} must be at least 1 and below the Sliding Range {size}")
    starts = range(0, n - size + stride, stride)
    for start in starts:
        yield np.arange(min(start, n - size), min(start, n - size) + size)


def published(
    points: np.ndarray,
    separation: float,
    radius: float | None = None,
    forbidden: sparse.csr_matrix | None = None,
    size: int | None = None,
    stride: int | None = None,
) -> Linked:
    """Link every two points of one position closer than `separation`; what hangs together is one identity.

    points float32 [n, D] unit. Links are taken nearest first, and left out where the set would hold a forbidden pair
    or, if `radius` is given, a point farther than it from the set's centroid. Without both: connected components.
    """
    found = [
        np.stack([rows[i], rows[j], d], 1)
        for rows in positions(len(points), size, stride)
        for i, j, d in noise.close_pairs(points[rows], separation)
    ]
    return Linked(*linkage.single(len(points), _nearest_first(found), forbidden, points, radius))


def _nearest_first(found: list[np.ndarray]) -> np.ndarray:
    """Relations (point, point, distance) in the order in which they are taken, each once, [M, 3]."""
    relations = np.unique(np.concatenate([*found, np.empty((0, 3))]), axis=0)
    return relations[np.lexsort((relations[:, 1], relations[:, 0], relations[:, 2]))]


def link(
    points: np.ndarray,
    similar: float,
    forbidden: sparse.csr_matrix | None = None,
    size: int | None = None,
    stride: int | None = None,
    radius: float | None = None,
    saved: Path | None = None,
    lists: np.ndarray | None = None,
) -> Linked:
    """Average linkage on the Jaccard similarity of k-reciprocal neighbourhoods, position by position.

    Each position goes on from the identities that earlier ones have linked, and joins two only if the mean
    similarity over all their members in the position is at least `similar` (and, if `radius` is given, none of
    their points in it is farther than that from their centroid). The distance of a merge is 1 - similarity.
    saved: a file (.npz) that a killed call with the same arguments goes on from, after its last position.
    lists: of the first position, `nearest.neighbours` with SPARE more and none forbidden, if they are known already.
    """
    n = len(points)
    forbidden = forbidden if forbidden is not None else sparse.csr_matrix((n, n), dtype=bool)
    steps = list(positions(n, size, stride))
    state = _State.start(points, forbidden, saved, similar, size, stride, radius)
    left = steps[state.done :]
    for rows in track(left, "Sliding Range", "position", len(steps), state.done) if len(steps) > 1 else left:
        if state.searched == state.done:
            part, apart = points[rows], forbidden[rows][:, rows]
            known = lists is not None and state.done == 0
            near = nearest.allowed(part, lists, apart) if known else nearest.neighbours(part, forbidden=apart)
            state.index[rows] = rows[near]
            state.searched += 1
            state.save(saved)
        graph = reciprocal.similarity(points[rows], state.index[rows] - rows[0])
        own = state.place[rows]
        apart = _apart(forbidden, state.place, own)
        local, merges = linkage.average(graph, similar, apart, own, points[rows], radius)
        state.close += [linkage.close(graph, similar, apart, label) for label in (own, local)]
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
    return Linked(state.place, merges, state.index, tuple(state.close.tolist()))


def _apart(forbidden: sparse.csr_matrix, place: np.ndarray, own: np.ndarray) -> sparse.csr_matrix:
    """Which nodes of a position, int [m] by the set of each, may not be one for anything that their sets hold."""
    names, at = np.unique(own, return_inverse=True)
    group = np.full(len(place), -1)
    group[names] = np.arange(len(names))
    members = np.flatnonzero(group[place] >= 0)  # of the sets, wherever they lie
    pool = sparse.csr_matrix((np.ones(len(members)), (group[place[members]], np.arange(len(members)))))
    return (pool @ forbidden[members][:, members] @ pool.T).tocsr()[at][:, at]


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
        cls, points: np.ndarray, forbidden: sparse.csr_matrix, saved: Path | None, *settings: float | None
    ) -> _State:
        """Where the same work was saved, or nowhere yet."""
        n = len(points)
        key = hashlib.sha256(repr((points.shape, settings)).encode())
        if saved:
            key.update(work.key(None, *CODE).encode())
            for array in (points, forbidden.indptr, forbidden.indices):
                key.update(np.ascontiguousarray(array).data)
        key = key.hexdigest()
        if saved and saved.is_file():
            with np.load(saved) as file:
                if str(file["key"]) == key:
                    state = cls(key, int(file["searched"]), int(file["done"]), *(file[name] for name in ARRAYS))
                    say(f"denoise: linking goes on after {state.done} positions of an earlier run")
                    return state
        size = settings[1]
        width = 1 + max(0, min(nearest.WIDEST, (min(size, n) if size else n) - 1))
        return cls(key, 0, 0, np.arange(n), np.empty((0, 3)), np.zeros((n, width), np.int32), np.zeros(2, np.int64))

    def save(self, path: Path | None) -> None:
        """Write all of it, atomically."""
        if path:
            with work.atomic(path) as temporary:
                np.savez(temporary, **vars(self))


def extended(
    points: np.ndarray,
    place: np.ndarray,
    index: np.ndarray,
    similar: float,
    forbidden: sparse.csr_matrix,
    radius: float | None = None,
) -> Linked:
    """`link` gone on with: the points behind those of `place` and `index` (as `Linked` holds them: after a Sliding
    Range, each old point's neighbours are those of its last position) are new.

    All new points are compared with all points, old ones with one another only where their sets are like a new point.
    Old sets may merge, none is split. forbidden: bool [n, n] over all points, none between an old and a new one.
    """
    m, n = len(place), len(points)
    fresh = np.arange(m, n)
    own = np.concatenate([place, fresh])
    if m == n:
        return Linked(own, [], index, (0, 0))
    if m <= nearest.WIDEST:  # there was less to compare with than a list holds
        index = nearest.neighbours(points, forbidden=forbidden)
    else:
        index = nearest.widened(points, index, forbidden)
    like = reciprocal.resembling(points, index, fresh, similar)
    rows = np.flatnonzero(np.isin(own, own[like]) | (np.arange(n) >= m))
    graph = reciprocal.similarity(points, index, rows)
    _, start, size = np.unique(own[rows], return_inverse=True, return_counts=True)
    pool = sparse.csr_matrix((np.ones(len(rows)), (np.arange(len(rows)), start)))
    mean = (graph[rows >= m] @ pool).multiply(1 / size).tocoo()  # of each new point and each set
    met = np.isin(start, mean.col[mean.data >= similar]) | (rows >= m)
    rows, graph = rows[met], graph[met][:, met]
    apart, start = forbidden[rows][:, rows], own[rows]
    label, merges = linkage.average(graph, similar, apart, start, points[rows], radius)
    close = tuple(linkage.close(graph, similar, apart, sets) for sets in (start, label))
    own[rows] = rows[label]
    return Linked(own, [(int(rows[x]), int(rows[y]), 1 - s) for x, y, s in merges], index, close)


def extended_published(
    points: np.ndarray,
    place: np.ndarray,
    separation: float,
    radius: float | None,
    forbidden: sparse.csr_matrix,
) -> Linked:
    """`published` gone on with, as `extended`: each new point is compared with all points."""
    m, n, found = len(place), len(points), []
    for first in range(0, n, noise.BLOCK):
        for second in range(m, n, noise.BLOCK):
            distance = 1 - points[first : first + noise.BLOCK] @ points[second : second + noise.BLOCK].T
            i, j = np.nonzero(distance < separation)
            one_way = i + first < j + second
            i, j = i[one_way], j[one_way]
            found.append(np.stack([i + first, j + second, np.maximum(distance[i, j], 0)], 1))
    start = np.concatenate([place, np.arange(m, n)])
    return Linked(*linkage.single(n, _nearest_first(found), forbidden, points, radius, start))
