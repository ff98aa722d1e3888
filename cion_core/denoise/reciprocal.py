"""k-reciprocal neighbours and their Jaccard similarity, sparse throughout (Zhong et al., CVPR 2017, section 3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy import sparse

from cion_core.denoise.cannot_link import among
from cion_core.errors import CionError
from cion_core.progress import track

JOINS = 2_000_000  # (row, row, column) triples that a thread joins at a time: bounds memory
QUERIES = 4096  # rows that are searched for at a time
PAIRS = 1 << 16  # whose cosine is taken at a time: what stays in a processor's cache
SPARE = 8  # more than wanted that are searched for at first, as some may be forbidden
MOST_ON_GPU = 2048  # neighbours that FAISS finds there
SCALES = (8, 12, 18)
LEAST = 0.02  # a smaller overlap of neighbourhoods is none
COSINE = 0.2  # share of the cosine in the similarity of two rows whose neighbourhoods meet

Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def searcher(points: np.ndarray) -> Search:
    """Exact search among `points` (float32 [n, D]) by inner product through FAISS, on every GPU there is.

    Returns a function of queries [m, D] and k that gives similarities float32 and rows int64, [m, k], best first.
    """
    try:
        import faiss  # here alone; reading what denoising wrote needs none
    except ImportError:
        raise CionError("linking needs FAISS: pip install -e '.[cpu]', or '.[gpu]' with a CUDA GPU") from None
    faiss.cvar.distance_compute_blas_database_bs = 4096  # a quarter faster than its 1024 at some hundred dimensions
    index = faiss.IndexFlatIP(points.shape[1])
    index.add(np.ascontiguousarray(points, np.float32))
    if not faiss.get_num_gpus():
        return index.search
    fast = faiss.index_cpu_to_all_gpus(index)
    return lambda queries, k: (fast if k <= MOST_ON_GPU else index).search(queries, k)


def neighbours(
    points: np.ndarray,
    k: int = max(SCALES),
    forbidden: sparse.csr_matrix | None = None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """The k + 1 nearest rows of each row of `points` (unit, [n, D]), itself first, int32 [n, k+1]; k is at most n - 1.

    Exact but for rounding; which of equally near rows are taken is FAISS's choice. Rows that are `forbidden` (symmetric
    [n, n]) come last, whatever their distance.
    rows: of these rows alone, int32 [len(rows), k+1].
    """
    n = len(points)
    k = max(0, min(k, n - 1))
    rows = np.arange(n) if rows is None else rows
    index, search = np.empty((len(rows), k + 1), np.int32), searcher(points)
    blocks = range(0, len(rows), QUERIES)
    for start in track(blocks, "neighbours", "block") if len(blocks) > 8 else blocks:
        open_, wanted = np.arange(start, min(start + QUERIES, len(rows))), k + 1 + SPARE
        while len(open_):
            wanted = min(wanted, n)
            found, enough = _nearest(search, points, rows[open_], wanted, k, forbidden)
            index[open_[enough]] = found[enough]
            open_, wanted = open_[~enough], 4 * wanted
    return index


def widened(points: np.ndarray, index: np.ndarray, forbidden: sparse.csr_matrix) -> np.ndarray:
    """The neighbours of the first rows of `points`, when those behind them are new: `index` int32 [m, k+1] brought up
    to date, and the lists of the new rows, int32 [n, k+1]. No old row is forbidden to a new one."""
    m, n, k = len(index), len(points), index.shape[1] - 1
    if m == n:
        return index
    fresh = np.arange(m, n)
    rank = -cosines(points, np.arange(m), index[:, -1])  # of the last of each list: what a new row has to beat
    rank[among(forbidden, np.arange(m), index[:, -1])] = 4
    out = np.concatenate([index, neighbours(points, k, forbidden, fresh)])
    search = searcher(points[fresh])
    for start in range(0, m, QUERIES):
        similar, near = search(points[start : min(start + QUERIES, m)], min(k, len(fresh)))
        better = np.flatnonzero(-similar[:, 0] < rank[start : start + QUERIES]) if k else np.empty(0, np.int64)
        rows = start + better
        both = np.concatenate([index[rows], m + near[better]], 1)
        at = np.repeat(rows[:, None], both.shape[1], 1)
        order = -cosines(points, at.ravel(), both.ravel()).reshape(both.shape)
        order[among(forbidden, at, both)] += 4
        order[:, 0] = -4
        out[rows] = np.take_along_axis(both, np.lexsort((both, order), axis=1)[:, : k + 1], 1)
    return out


def _nearest(
    search: Search, points: np.ndarray, rows: np.ndarray, wanted: int, k: int, forbidden: sparse.csr_matrix | None
) -> tuple[np.ndarray, np.ndarray]:
    """`neighbours` of some rows among the `wanted` nearest, and whether those hold k that are not forbidden.

    When all rows are wanted that is enough in any case.
    """
    similar, near = search(points[rows], wanted)
    rank = np.where(near == rows[:, None], -4, -similar)  # a row is its own nearest, even among duplicates
    own = (near == rows[:, None]).any(1)
    near[~own, -1], rank[~own, -1] = rows[~own], -4
    if forbidden is not None and forbidden.nnz:
        rank[among(forbidden, np.repeat(rows[:, None], wanted, 1), near)] += 4
    order = np.lexsort((near, rank), axis=1)[:, : k + 1]
    last = np.take_along_axis(rank, order[:, -1:], 1)[:, 0]
    return np.take_along_axis(near, order, 1), (last < 2) | (wanted == len(points))


def _graph(index: np.ndarray, k: int) -> sparse.csr_matrix:
    """Row i holds 1 for its k nearest and itself, float32 [n, n]."""
    n, k = len(index), min(k + 1, index.shape[1])
    return sparse.csr_matrix(
        (np.ones(n * k, np.float32), index[:, :k].ravel(), np.arange(0, n * k + 1, k)), shape=(n, n)
    )


def reciprocal_sets(index: np.ndarray, k: int) -> sparse.csr_matrix:
    """R*(i, k): mutual neighbours, and the half-sized sets of members that overlap them by over 2/3; bool [N, N]."""
    forward = _graph(index, k)
    mutual = forward.multiply(forward.T).tocsr()
    half = _graph(index, max(1, round(k / 2)))
    half = half.multiply(half.T).tocsr()
    sizes = np.asarray(half.sum(1)).ravel()
    overlap = (mutual @ half.T).multiply(mutual).tocoo()  # |R(i) ∩ R_half(q)| for each member q of R(i)
    agree = overlap.data > 2 / 3 * sizes[overlap.col]
    widen = sparse.csr_matrix((overlap.data[agree], (overlap.row[agree], overlap.col[agree])), shape=mutual.shape)
    return (mutual + widen @ half).astype(bool).tocsr()


def neighbourhoods(points: np.ndarray, index: np.ndarray, k1: int, k2: int) -> sparse.csr_matrix:
    """Each row's k-reciprocal neighbourhood as weights that sum to 1, float32 [n, n].

    Weighted by exp(-||a - b||²) and averaged over the row's k2 nearest rows (itself among them). index: `neighbours`
    of at least k1, or as many as there are.
    """
    sets = reciprocal_sets(index, k1)
    rows = np.repeat(np.arange(len(points), dtype=np.int32), np.diff(sets.indptr))
    weight = np.exp(2 * cosines(points, rows, sets.indices) - 2)
    v = sparse.csr_matrix((weight, sets.indices, sets.indptr), shape=sets.shape)
    v = sparse.diags((1 / np.asarray(v.sum(1)).ravel()).astype(np.float32)) @ v
    near = _graph(index, k2 - 1)
    near.data /= min(k2, index.shape[1])
    return (near @ v).tocsr()


def cosines(points: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Inner products of rows i and j of points, float32."""
    out = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        out[part] = np.einsum("nd,nd->n", points[i[part]], points[j[part]])
    return out


class Similarities:
    """Mean Jaccard similarity over neighbourhoods of several SCALES, and the cosine; no row has one with itself.

    points float32 [n, D] unit; index: their `neighbours` of max(SCALES). How often a person was seen is not known, and
    one size of neighbourhood suits few: in a small one people seen often fall apart, in a large one those seen rarely
    drown. The cosine orders what neighbourhoods find equal (Zhong et al., equation 12). Rows that point apart (cosine
    0 or less: after the mean is taken off, nothing in common) have no similarity however few others there are.
    """

    def __init__(self, points: np.ndarray, index: np.ndarray) -> None:
        n = len(points)
        self.points = points
        scales = [max(1, min(k, n // 4)) for k in SCALES if n > 2]  # of two, each is the other's nearest come what may
        around = [partial(neighbourhoods, points, index, k, min(n, max(2, round(k / 3.5)))) for k in scales]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and SciPy let go of the interpreter in what takes time
            self.views = list(pool.map(lambda found: _Overlap(found()), around))

    def of(self, rows: np.ndarray) -> sparse.csr_matrix:
        """Of these rows and all, float32 [len(rows), n], sparse."""
        return self._of(rows, False)

    def all(self) -> sparse.csr_matrix:
        """Of all rows, symmetric [n, n]; each pair is worked out once."""
        upper = self._of(np.arange(len(self.points)), True)
        return (upper + upper.T).tocsr()

    def _of(self, rows: np.ndarray, above: bool) -> sparse.csr_matrix:
        if not self.views:
            return sparse.csr_matrix((len(rows), len(self.points)), dtype=np.float32)
        joins = np.cumsum(self.views[-1].joins(rows, above))
        cuts = np.unique(np.searchsorted(joins, np.arange(JOINS, joins[-1] if len(joins) else 0, JOINS), side="right"))
        parts = np.split(rows, cuts[cuts > 0])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            blocks = pool.map(partial(self._mixed, above), parts)
            blocks = track(blocks, "similarities", "block", len(parts)) if len(parts) > 200 else blocks
            return sparse.vstack(list(blocks), "csr")

    def _mixed(self, above: bool, rows: np.ndarray) -> sparse.csr_matrix:
        mean = sum(view.of(rows, above) for view in self.views).tocsr()
        mean.data /= len(self.views)
        i = np.repeat(rows, np.diff(mean.indptr))
        mean.data[(mean.data < LEAST) | (i == mean.indices)] = 0
        mean.eliminate_zeros()
        cosine = cosines(self.points, np.repeat(rows, np.diff(mean.indptr)), mean.indices)
        mean.data = np.where(cosine > 0, (1 - COSINE) * mean.data + COSINE * cosine, 0)
        mean.eliminate_zeros()
        return mean


def similarity(points: np.ndarray, index: np.ndarray) -> sparse.csr_matrix:
    """`Similarities` of all rows, sparse symmetric [n, n]."""
    return Similarities(points, index).all()


def jaccard(v: sparse.csr_matrix) -> sparse.csr_matrix:
    """Jaccard similarity, in (0, 1], of all `neighbourhoods` v, sparse symmetric [n, n], no diagonal.

    1 - similarity is the Jaccard distance of Zhong et al.; an absent entry is distance 1.
    """
    upper = _Overlap(v).of(np.arange(v.shape[0]), True)
    return (upper + upper.T).tocsr()


class _Overlap:
    """Weighted Jaccard similarity Σ min / Σ max of the rows of `v`, each of which sums to 1."""

    def __init__(self, v: sparse.csr_matrix) -> None:
        self.v = v
        self.columns = v.T.tocsr()  # columns[c]: the rows that hold c
        self.place = np.empty(v.nnz, np.int64)  # of each entry of v in `columns`
        self.place[np.argsort(v.indices, kind="stable")] = np.arange(v.nnz)

    def joins(self, rows: np.ndarray, above: bool) -> np.ndarray:
        """How many pairs (entry of the row, row that holds its column) each row has; above: only of rows behind it."""
        begin, end = self._span(np.arange(self.v.nnz), above)
        return np.add.reduceat(end - begin, self.v.indptr[:-1])[rows]  # no row is empty: all hold themselves

    def _span(self, entries: np.ndarray, above: bool) -> tuple[np.ndarray, np.ndarray]:
        """Where in `columns` the rows to be compared begin and end, for each entry."""
        column = self.v.indices[entries]
        begin = self.place[entries] + 1 if above else self.columns.indptr[column].astype(np.int64)
        return begin, self.columns.indptr[column + 1].astype(np.int64)

    def of(self, rows: np.ndarray, above: bool) -> sparse.csr_matrix:
        """The similarities of `rows` to all, float32 [len(rows), n], themselves among them; above: to those behind."""
        count = np.diff(self.v.indptr)[rows]
        entries = np.arange(count.sum()) + np.repeat(self.v.indptr[rows] - np.cumsum(count) + count, count)
        begin, end = self._span(entries, above)
        meets = end - begin
        row = np.repeat(np.repeat(np.arange(len(rows), dtype=np.int32), count), meets)
        other = np.arange(len(row)) + np.repeat(begin - np.cumsum(meets) + meets, meets)
        least = np.minimum(np.repeat(self.v.data[entries], meets), self.columns.data[other])
        shared = sparse.csr_matrix((least, (row, self.columns.indices[other])), shape=(len(rows), self.v.shape[0]))
        shared.data = shared.data / (2 - shared.data)
        return shared
