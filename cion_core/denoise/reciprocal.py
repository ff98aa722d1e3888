"""k-reciprocal neighbours and their Jaccard similarity, sparse throughout (Zhong et al., CVPR 2017, section 3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy import sparse

from cion_core.denoise.cannot_link import among
from cion_core.denoise.noise import once
from cion_core.errors import CionError
from cion_core.progress import track

JOINS = 2_000_000  # (row, row, column) triples that a thread joins at a time: bounds memory
QUERIES = 4096  # rows that are searched for at a time
PAIRS = 1 << 16  # whose cosine is taken at a time: what stays in a processor's cache
SPARE = 8  # more than wanted that are searched for at first, as some may be forbidden
MOST_ON_GPU = 2048  # neighbours that FAISS finds there
SCALES = (8, 12, 18)
LEAST = 0.02  # a smaller overlap of neighbourhoods is none
TOUCH = 0.05  # overlap of the smallest ones from which on similarity is worked out for rows that come later
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
    to date, and the lists of the new rows, int32 [n, k+1]. No old row is forbidden to a new one; m is more than k."""
    m, n, k = len(index), len(points), index.shape[1] - 1
    if m == n:
        return index
    fresh = np.arange(m, n)
    last = cosines(points, np.arange(m), index[:, -1])  # of each list: what a new row has to beat
    last[among(forbidden, np.arange(m), index[:, -1])] = -4
    apart = forbidden[fresh][:, fresh].tocoo()
    out = np.concatenate([index, np.empty((n - m, k + 1), np.int32)])
    near, alike = np.empty((n - m, 0), np.int32), np.empty((n - m, 0), np.float32)  # the best for each new row so far
    for start in range(0, n, QUERIES):
        rows = np.arange(start, min(start + QUERIES, n))
        cosine = points[rows] @ points[fresh].T
        old = rows[rows < m]
        if k and len(old):
            better = np.flatnonzero(cosine[: len(old)].max(1) > last[old])
            best = np.argpartition(-cosine[better], min(k, n - m) - 1, 1)[:, :k]
            out[old[better]] = _updated(points, forbidden, old[better], index[old[better]], m + best)
        here = apart.row + m - start
        known = (here >= 0) & (here < len(rows))
        cosine[here[known], apart.col[known]] -= 4
        itself = rows[rows >= m]
        cosine[itself - start, itself - m] = 4
        near = np.concatenate([near, np.broadcast_to(rows.astype(np.int32), (n - m, len(rows)))], 1)
        alike = np.concatenate([alike, cosine.T], 1)
        best = np.argpartition(-alike, min(k, alike.shape[1] - 1), 1)[:, : k + 1]
        near, alike = np.take_along_axis(near, best, 1), np.take_along_axis(alike, best, 1)
    out[m:] = np.take_along_axis(near, np.lexsort((near, -alike), axis=1), 1)
    return out


def _updated(
    points: np.ndarray, forbidden: sparse.csr_matrix, rows: np.ndarray, lists: np.ndarray, new: np.ndarray
) -> np.ndarray:
    """The lists of some rows [r, k+1] when the rows `new` [r, c] are as near."""
    both = np.concatenate([lists, new], 1)
    at = np.repeat(rows[:, None], both.shape[1], 1)
    order = -cosines(points, at.ravel(), both.ravel()).reshape(both.shape)
    order[among(forbidden, at, both)] += 4
    order[:, 0] = -4
    return np.take_along_axis(both, np.lexsort((both, order), axis=1)[:, : lists.shape[1]], 1)


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


def reciprocal_sets(index: np.ndarray, k: int, rows: np.ndarray) -> sparse.csr_matrix:
    """R*(i, k) of `rows` (sorted; the others are empty): mutual neighbours, and the half-sized sets of members that
    overlap them by over 2/3; bool [n, n]."""
    mutual = _mutual(index, k, rows)
    half = _mutual(index, max(1, round(k / 2)), once(mutual.indices.astype(np.int64)))
    sizes = np.asarray(half.sum(1)).ravel()
    overlap = (mutual @ half.T).multiply(mutual).tocoo()  # |R(i) ∩ R_half(q)| for each member q of R(i)
    agree = overlap.data > 2 / 3 * sizes[overlap.col]
    widen = sparse.csr_matrix((overlap.data[agree], (overlap.row[agree], overlap.col[agree])), shape=mutual.shape)
    return (mutual + widen @ half).astype(bool).tocsr()


def neighbourhoods(
    points: np.ndarray, index: np.ndarray, k1: int, k2: int, rows: np.ndarray | None = None
) -> sparse.csr_matrix:
    """Each row's k-reciprocal neighbourhood as weights that sum to 1, float32 [n, n]; of `rows` alone [len(rows), n].

    Weighted by exp(-||a - b||²) and averaged over the row's k2 nearest rows (itself among them). index: `neighbours`
    of at least k1, or as many as there are.
    """
    n = len(points)
    near = index[slice(None) if rows is None else rows, :k2]
    sets = reciprocal_sets(index, k1, once(near.ravel().astype(np.int64)))
    i = np.repeat(np.arange(n, dtype=np.int32), np.diff(sets.indptr))
    v = sparse.csr_matrix((np.exp(2 * cosines(points, i, sets.indices) - 2), sets.indices, sets.indptr), sets.shape)
    v.data *= (1 / np.maximum(np.asarray(v.sum(1)).ravel(), 1e-9)).astype(np.float32)[i]
    share = np.full(near.size, np.float32(1) / near.shape[1])
    return (
        sparse.csr_matrix((share, near.ravel(), np.arange(0, near.size + 1, near.shape[1])), (len(near), n)) @ v
    ).tocsr()


def cosines(points: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Inner products of rows i and j of points, float32."""
    out = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        out[part] = np.einsum("nd,nd->n", points[i[part]], points[j[part]])
    return out


def similarity(points: np.ndarray, index: np.ndarray, rows: np.ndarray | None = None) -> sparse.csr_matrix:
    """Mean Jaccard similarity over neighbourhoods of several SCALES, and the cosine: sparse symmetric [n, n], float32,
    no row with itself; among `rows` alone [len(rows), len(rows)].

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
        joins = np.cumsum(views[-1].joins())
        cuts = np.unique(np.searchsorted(joins, np.arange(JOINS, joins[-1] if len(joins) else 0, JOINS), side="right"))
        parts = np.split(np.arange(len(own)), cuts[cuts > 0])
        blocks = pool.map(partial(_mixed, own, views), parts)
        blocks = track(blocks, "similarities", "block", len(parts)) if len(parts) > 200 else blocks
        upper = sparse.vstack(list(blocks), "csr")
    return (upper + upper.T).tocsr()


def _scales(n: int) -> list[tuple[int, int]]:
    """k1 and k2 of the neighbourhoods of n rows; none where of two each is the other's nearest come what may."""
    sizes = [max(1, min(k, n // 4)) for k in SCALES if n > 2]
    return [(k, min(n, max(2, round(k / 3.5)))) for k in sizes]


def _mixed(points: np.ndarray, views: list[_Overlap], rows: np.ndarray) -> sparse.csr_matrix:
    """`similarity` of these rows to those behind them."""
    mean = sum(view.of(rows, True) for view in views).tocsr()
    mean.data /= len(views)
    i = np.repeat(rows, np.diff(mean.indptr))
    mean.data[(mean.data < LEAST) | (i == mean.indices)] = 0
    mean.eliminate_zeros()
    cosine = cosines(points, np.repeat(rows, np.diff(mean.indptr)), mean.indices)
    mean.data = np.where(cosine > 0, (1 - COSINE) * mean.data + COSINE * cosine, 0)
    mean.eliminate_zeros()
    return mean


def touching(points: np.ndarray, index: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whom `rows` may resemble: pairs (place in rows, any row) whose smallest neighbourhoods overlap by TOUCH."""
    for k1, k2 in _scales(len(points))[:1]:
        shared = _Overlap(neighbourhoods(points, index, k1, k2)).of(rows, False).tocoo()
        near = shared.data >= TOUCH
        return shared.row[near], shared.col[near]
    return np.empty(0, np.int64), np.empty(0, np.int64)


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

    def joins(self) -> np.ndarray:
        """How many pairs (entry of the row, row behind it that holds its column) each row has."""
        begin, end = self._span(np.arange(self.v.nnz), True)
        return np.add.reduceat(end - begin, self.v.indptr[:-1])  # no row is empty: all hold themselves

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
