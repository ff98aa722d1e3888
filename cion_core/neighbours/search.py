"""The nearest rows of each row: exact search by inner product, in which some pairs are forbidden."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from cion_core.errors import CionError
from cion_core.progress import track

QUERIES = 4096  # rows that are searched for at a time
PAIRS = 1 << 11  # whose cosine is taken at a time: what stays in a processor's cache
WIDEST = 18  # neighbours that are of use to linking
SPARE = 8  # more than wanted that are searched for at first, as some may be forbidden
MOST_ON_GPU = 2048  # neighbours that FAISS finds there

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
    faiss.cvar.distance_compute_blas_threshold = 20  # its present 128,000 keeps some hundred queries from the BLAS
    index = faiss.IndexFlatIP(points.shape[1])
    index.add(np.ascontiguousarray(points, np.float32))
    if not faiss.get_num_gpus():
        return index.search
    fast = faiss.index_cpu_to_all_gpus(index)
    return lambda queries, k: (fast if k <= MOST_ON_GPU else index).search(queries, k)


def neighbours(
    points: np.ndarray,
    k: int = WIDEST,
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
            found, enough = _allowed(_nearest(search, points, rows[open_], wanted), rows[open_], k, forbidden)
            done = enough | (wanted == n)
            index[open_[done]] = found[done]
            open_, wanted = open_[~done], 4 * wanted
    return index


def widened(points: np.ndarray, index: np.ndarray, forbidden: sparse.csr_matrix) -> np.ndarray:
    """The neighbours of the first rows of `points`, when those behind them are new: `index` int32 [m, k+1] brought up
    to date, and the lists of the new rows, int32 [n, k+1]. No old row is forbidden to a new one; m is more than k."""
    m, n, k = len(index), len(points), index.shape[1] - 1
    if m == n:
        return index
    last = cosines(points, np.arange(m), index[:, -1])  # of each list: what a new row has to beat
    last[among(forbidden, np.arange(m), index[:, -1])] = -4
    search = searcher(points[m:])
    better = np.flatnonzero(search(points[:m], 1)[0][:, 0] > last)  # the best alone takes half the time
    near = m + search(points[better], min(k, n - m))[1]
    out = np.concatenate([index, neighbours(points, k, forbidden, np.arange(m, n))])
    out[better] = _updated(points, forbidden, better, index[better], near)
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


def _nearest(search: Search, points: np.ndarray, rows: np.ndarray, wanted: int) -> np.ndarray:
    """The `wanted` nearest of some rows, each first in its list, then by similarity and number, int [r, wanted]."""
    similar, near = search(points[rows], wanted)
    rank = np.where(near == rows[:, None], -4, -similar)  # a row is its own nearest, even among duplicates
    own = (near == rows[:, None]).any(1)
    near[~own, -1], rank[~own, -1] = rows[~own], -4
    return np.take_along_axis(near, np.lexsort((near, rank), axis=1), 1)


def _allowed(
    near: np.ndarray, rows: np.ndarray, k: int, forbidden: sparse.csr_matrix | None
) -> tuple[np.ndarray, np.ndarray]:
    """The first k + 1 of the lists `near` of some rows, those that are forbidden behind the others; and whether none
    of those is among them."""
    if forbidden is None or not forbidden.nnz:
        return near[:, : k + 1], np.ones(len(near), bool)
    never = among(forbidden, np.broadcast_to(rows[:, None], near.shape), near)
    order = np.argsort(never, axis=1, kind="stable")[:, : k + 1]
    return np.take_along_axis(near, order, 1), (~never).sum(1) > k


def cosines(points: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Inner products of rows i and j of points, float32."""
    out = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        out[part] = np.einsum("nd,nd->n", points[i[part]], points[j[part]])
    return out


def among(forbidden: sparse.csr_matrix, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Whether each pair of places i, j (of one shape) is forbidden, bool of that shape."""
    if not i.size:  # SciPy answers no question with a matrix
        return np.zeros(i.shape, bool)
    return np.asarray(forbidden[i.ravel(), j.ravel()]).reshape(i.shape)
