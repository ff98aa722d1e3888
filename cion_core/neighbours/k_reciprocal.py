"""k-reciprocal neighbours and their Jaccard similarity, sparse throughout (Zhong et al., CVPR 2017, section 3)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import once, starts
from cion_core.neighbours.search import QUERIES, WIDEST, cosines
from cion_core.progress import track

JOINS = 500_000  # (row, row, column) triples that a thread joins at a time: bounds memory
SCALES = (WIDEST, 12, 8)  # the one that takes longest first
LEAST = 0.02  # a smaller overlap of neighbourhoods is none
TOUCH = 0.05  # overlap of the smallest neighbourhoods below which rows that come later are not compared
COSINE = 0.2  # share of the cosine in the similarity of two rows whose neighbourhoods meet
FLOAT = 30  # bits of a float32 from 0 to below 2: the two others are zero
KEY = 63 - FLOAT  # bits that are left beside it


@dataclass(frozen=True)
class Encoding:
    """What of the encoding the paper says in one way, and the authors' own program does in another.

    spread: a neighbour at cosine distance d weighs exp(-spread * d); 2 is the squared Euclidean distance of unit rows.
    strict: the half-sized set of a member must overlap by more than two thirds of itself, not by two thirds or more.
    normalised: the weights of a row sum to 1 before rows are averaged, so that neighbourhoods of all sizes compare.
    """

    spread: float
    strict: bool
    normalised: bool


AS_PROGRAMMED = Encoding(spread=2, strict=True, normalised=True)  # github.com/zhunzhong07/person-re-ranking
AS_PUBLISHED = Encoding(spread=1, strict=False, normalised=False)  # sections 3.2 and 3.3, of the cosine distance


def _mutual(index: np.ndarray, k: int, rows: np.ndarray) -> sparse.csr_matrix:
    """Row i, of `rows` (sorted; the others are empty), holds 1 for itself and those of its k nearest whose k nearest
    it is among; float32 [n, n]."""
    n, k = len(index), min(k + 1, index.shape[1])
    near = np.sort(index[rows, :k], 1)
    back = np.empty(near.shape, bool)
    for start in range(0, len(rows), QUERIES):
        part = slice(start, start + QUERIES)
        back[part] = (index[near[part], :k] == rows[part, None, None]).any(-1)
    ends = np.zeros(n + 1, np.int64)
    ends[rows + 1] = back.sum(1)
    return sparse.csr_matrix((np.ones(back.sum(), np.float32), near[back], np.cumsum(ends)), shape=(n, n))


def reciprocal_sets(index: np.ndarray, k: int, rows: np.ndarray, strict: bool = True) -> sparse.csr_matrix:
    """R*(i, k) of `rows` (sorted; the others are empty): mutual neighbours, and the half-sized sets of members that
    overlap them by (`strict`: over) two thirds; bool [n, n]."""
    mutual = _mutual(index, k, rows)
    half = _mutual(index, max(1, round(k / 2)), once(mutual.indices.astype(np.int64)))
    sizes = np.asarray(half.sum(1)).ravel()
    overlap = (mutual @ half.T).multiply(mutual).tocoo()  # |R(i) ∩ R_half(q)| for each member q of R(i)
    thrice, twice = 3 * overlap.data, 2 * sizes[overlap.col]
    agree = thrice > twice if strict else thrice >= twice
    widen = sparse.csr_matrix((overlap.data[agree], (overlap.row[agree], overlap.col[agree])), shape=mutual.shape)
    return (mutual + widen @ half).astype(bool).tocsr()


def neighbourhoods(
    points: np.ndarray,
    index: np.ndarray,
    k1: int,
    k2: int,
    rows: np.ndarray | None = None,
    encoding: Encoding = AS_PROGRAMMED,
) -> sparse.csr_matrix:
    """Each row's k-reciprocal neighbourhood as weights, float32 [n, n]; of `rows` alone [len(rows), n].

    A row's members are weighted by how near they are, and its weights averaged with those of its k2 nearest rows
    (itself among them). index: `search.neighbours` of at least k1 and k2 - 1, or as many as there are.
    """
    n = len(points)
    near = index[slice(None) if rows is None else rows, :k2]
    sets = reciprocal_sets(index, k1, once(near.ravel().astype(np.int64)), encoding.strict)
    i = np.repeat(np.arange(n, dtype=np.int32), np.diff(sets.indptr))
    weights = np.exp(encoding.spread * cosines(points, i, sets.indices) - encoding.spread)
    v = sparse.csr_matrix((weights, sets.indices, sets.indptr), sets.shape)
    if encoding.normalised:
        v.data *= (1 / np.maximum(np.asarray(v.sum(1)).ravel(), 1e-9)).astype(np.float32)[i]
    share = np.full(near.size, np.float32(1) / near.shape[1])
    return (
        sparse.csr_matrix((share, near.ravel(), np.arange(0, near.size + 1, near.shape[1])), (len(near), n)) @ v
    ).tocsr()


def similarity(
    points: np.ndarray, index: np.ndarray, rows: np.ndarray | None = None, first: int | None = None
) -> sparse.csr_matrix:
    """Mean Jaccard similarity over neighbourhoods of several SCALES, and the cosine: sparse symmetric [n, n], float32,
    no row with itself; among `rows` alone [len(rows), len(rows)], and of them only that of the `first` so many to all.

    points float32 [n, D] unit; index: their `neighbours` of max(SCALES). How often a person was seen is not known, and
    one size of neighbourhood suits few: in a small one people seen often fall apart, in a large one those seen rarely
    drown. The cosine orders what neighbourhoods find equal (Zhong et al., equation 12). Rows that point apart (cosine
    0 or less: after the mean is taken off, nothing in common) have no similarity however few others there are.
    """
    own = points if rows is None else points[rows]
    around = [partial(neighbourhoods, points, index, k1, k2, rows) for k1, k2 in _scales(len(points))]
    if not around:
        return sparse.csr_matrix((len(own), len(own)), dtype=np.float32)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and SciPy let go of the interpreter in what takes time
        views = list(pool.map(lambda found: _Overlap(found()), around))
        blocks = pool.map(partial(_mixed, own, views), parts := views[0].parts(first))
        blocks = track(blocks, "similarities", "block", len(parts)) if len(parts) > 200 else blocks
        i, j, value = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return _symmetric(i, j, value, len(own))


def _scales(n: int) -> list[tuple[int, int]]:
    """k1 and k2 of the neighbourhoods of n rows; none where of two each is the other's nearest come what may."""
    sizes = [max(1, min(k, n // 4)) for k in SCALES if n > 2]
    return [(k, min(n, max(2, round(k / 3.5)))) for k in sizes]


def _mixed(points: np.ndarray, views: list[_Overlap], rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`similarity` of these rows to those behind them: rows, others, and values."""
    keys, values = (np.concatenate(column) for column in zip(*(view.of(rows) for view in views), strict=True))
    keys, total = _added(keys, values)
    mean = total / np.float32(len(views))
    met = mean >= LEAST
    i, j = views[0].pairs(rows, keys[met])
    cosine = cosines(points, i, j)
    alike = cosine > 0
    return i[alike], j[alike], ((1 - COSINE) * mean[met] + COSINE * cosine)[alike]


def resembling(points: np.ndarray, index: np.ndarray, rows: np.ndarray, least: float) -> np.ndarray:
    """Whom `rows` resemble by `least` or more: other rows, sorted; only those in their middle neighbourhoods whose
    smallest overlaps one of theirs by TOUCH are asked for."""
    if len(points) <= 2:
        return np.empty(0, np.int32)
    _, middle, small = _scales(len(points))
    others = np.setdiff1d(neighbourhoods(points, index, *middle, rows).indices, rows)
    view = _Overlap(neighbourhoods(points, index, *small, np.concatenate([rows, others])))
    _, met, shared = view.similarities(len(rows))
    others = others[_behind(met[shared >= TOUCH], len(rows))]
    graph = similarity(points, index, np.concatenate([rows, others]), len(rows))[: len(rows)].tocoo()
    return others[_behind(graph.col[graph.data >= least], len(rows))]


def _behind(places: np.ndarray, n: int) -> np.ndarray:
    """Of places, those behind the first n, counted from there, each once."""
    return once(places[places >= n]) - n


class Jaccard:
    """Jaccard similarity of the neighbourhoods `v` (`neighbourhoods` of any encoding), when it is asked for."""

    def __init__(self, v: sparse.csr_matrix) -> None:
        self._view = _Overlap(v, np.asarray(v.sum(1)).ravel())

    def parts(self, rows: slice) -> list[slice]:
        """Some rows (start and stop), cut so that `of` each part takes little memory."""
        return self._view.parts(rows.stop, rows.start)

    def of(self, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The similarities of a part to all rows behind each of its rows: rows, others, values; 0 if not given."""
        keys, value = self._view.of(part)
        return *self._view.pairs(part, keys), value


def _symmetric(i: np.ndarray, j: np.ndarray, value: np.ndarray, n: int) -> sparse.csr_matrix:
    """The values of pairs i, j both ways, [n, n]."""
    both = np.concatenate([i, j]), np.concatenate([j, i])
    return sparse.csr_matrix((np.concatenate([value, value]), both), (n, n))


def _added(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the values of each key: keys sorted, each once, and sums float32.

    keys int64 from 0 to below 2^KEY; values float32 from 0 to below 2, added from the smallest on. Keys and values are
    sorted as one number, which takes a fraction of the time that a sparse matrix takes to add up.
    """
    packed = keys << FLOAT | values.view(np.int32)
    packed.sort()
    start = starts(packed >> FLOAT)
    values = (packed & (1 << FLOAT) - 1).astype(np.int32).view(np.float32)
    return packed[start] >> FLOAT, np.add.reduceat(values, start) if len(start) else values


class _Overlap:
    """Weighted Jaccard similarity Σ min / Σ max of the rows of `v`. sizes [n]: the sum of each row; None: each is 1.

    A pair of rows is one number, its key: the first row, counted from the first of the rows asked for, and behind it in
    `bits` bits the second.
    """

    def __init__(self, v: sparse.csr_matrix, sizes: np.ndarray | None = None) -> None:
        self.v, self.sizes, self.bits = v, sizes, v.shape[0].bit_length()
        columns = v.T.tocsr()  # columns[c]: the rows that hold c
        self.rows, self.values = columns.indices, columns.data
        self.behind = np.empty(v.nnz, np.int64)  # for each entry of v, where in `columns` those below it begin
        self.behind[np.argsort(v.indices, kind="stable")] = np.arange(1, v.nnz + 1)
        self.meets = columns.indptr[v.indices + 1] - self.behind  # and how many they are

    def parts(self, stop: int | None = None, start: int = 0) -> list[slice]:
        """Rows from start to stop (None: the last), cut at JOINS pairs (entry of a row, row behind with its column)."""
        stop = self.v.shape[0] if stop is None else stop
        ends = self.v.indptr[start : stop + 1]  # no row is without entries
        meets = self.meets[ends[0] : ends[-1]]
        joins = np.cumsum(np.add.reduceat(meets, ends[:-1] - ends[0]) if stop > start else [])
        cuts = start + np.searchsorted(joins, np.arange(JOINS, joins[-1] if len(joins) else 0, JOINS), side="right")
        cuts = once(np.concatenate([cuts, np.arange(start, stop, 1 << KEY - self.bits), [stop]]).astype(np.int64))
        return [slice(a, b) for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)]

    def of(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """The similarities of `rows` to those behind each: keys int64, sorted, and float32."""
        ends = self.v.indptr[rows.start : rows.stop + 1]
        entries = slice(ends[0], ends[-1])
        meets, behind = self.meets[entries], self.behind[entries]
        place = np.repeat(np.arange(len(ends) - 1, dtype=np.int64) << self.bits, np.diff(ends))
        other = np.repeat(behind - np.cumsum(meets) + meets, meets)
        other += np.arange(len(other))
        least = np.minimum(np.repeat(self.v.data[entries], meets), self.values[other])
        keys, shared = _added(np.repeat(place, meets) | self.rows[other], least)
        if self.sizes is None:
            return keys, shared / (2 - shared)
        i, j = self.pairs(rows, keys)
        return keys, shared / (self.sizes[i] + self.sizes[j] - shared)

    def pairs(self, rows: slice, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the pairs that `of` these rows gives, int64."""
        return (keys >> self.bits) + rows.start, keys & (1 << self.bits) - 1

    def similarities(self, first: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all rows, or the first, to those behind each: rows, others, and values."""
        found = [(*self.pairs(rows, keys), value) for rows in self.parts(first) for keys, value in [self.of(rows)]]
        i, j, value = (np.concatenate(column) for column in zip(*found, strict=True))
        return i, j, value
