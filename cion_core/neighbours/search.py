"""The nearest rows of each row: exact search by inner product; some pairs may be forbidden."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from cion_core.errors import CionError
from cion_core.progress import track

# Rows that are searched for at a time.
QUERIES = 4096
# Pairs whose cosine is taken at a time: what stays in a processor's cache.
PAIRS = 1 << 11
# Neighbours that are of use to linking.
WIDEST = 18
# So many more than wanted are searched for at first, as some may be forbidden.
SPARE = 8
# A progress bar is shown from so many blocks of QUERIES on.
BLOCKS_FOR_A_BAR = 8
# Neighbours that FAISS finds on a GPU.
MOST_ON_GPU = 2048
# Lists are sorted by minus the cosine, from -1 to 1. The row itself gets this key, and so comes
# first ...
KEY_OF_ITSELF = -4
# ... and the key of a forbidden row is raised by this, so that it comes behind all others.
PENALTY = 4

Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def searcher(points: np.ndarray) -> Search:
    """Prepare exact search by inner product through FAISS, on every GPU that there is.

    Args:
        points: float32 [n, D], among which is searched.

    Returns:
        A function of queries [m, D] and k that gives similarities float32 and rows int64, [m, k],
        best first.

    Raises:
        CionError: FAISS is not installed.
    """
    try:
        # Imported here alone: reading what denoising wrote needs no FAISS.
        import faiss
    except ImportError:
        raise CionError(
            "linking needs FAISS: pip install -e '.[cpu]', or '.[gpu]' with a CUDA GPU"
        ) from None
    # A quarter faster than FAISS's own 1024 at some hundred dimensions.
    faiss.cvar.distance_compute_blas_database_bs = 4096
    # Its present 128,000 keeps some hundred queries from the BLAS.
    faiss.cvar.distance_compute_blas_threshold = 20
    index = faiss.IndexFlatIP(points.shape[1])
    index.add(np.ascontiguousarray(points, np.float32))
    if not faiss.get_num_gpus():
        return index.search
    on_gpu = faiss.index_cpu_to_all_gpus(index)
    return lambda queries, k: (on_gpu if k <= MOST_ON_GPU else index).search(queries, k)


def neighbours(
    points: np.ndarray,
    k: int = WIDEST,
    forbidden: sparse.csr_matrix | None = None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Find the k + 1 nearest rows of each row, itself first.

    Exact but for rounding; which of equally near rows are taken is FAISS's choice.

    Args:
        points: float32 [n, D], unit length.
        k: neighbours beside the row itself; at most n - 1 are given.
        forbidden: bool [n, n], symmetric: rows that come last, whatever their distance.
        rows: int, search for these rows alone; None: all.

    Returns:
        int32 [n, k+1], or [len(rows), k+1].
    """
    count = len(points)
    k = max(0, min(k, count - 1))
    rows = np.arange(count) if rows is None else rows
    nearest = np.empty((len(rows), k + 1), np.int32)
    search = searcher(points)
    blocks = range(0, len(rows), QUERIES)
    if len(blocks) > BLOCKS_FOR_A_BAR:
        blocks = track(blocks, "neighbours", "block")
    for start in blocks:
        stop = min(start + QUERIES, len(rows))
        unfinished = np.arange(start, stop)
        wanted = k + 1 + SPARE
        # Search wider for rows of which too many neighbours are forbidden.
        while len(unfinished):
            wanted = min(wanted, count)
            asked_for = rows[unfinished]
            found = _nearest_first(search, points, asked_for, wanted)
            lists, enough = _allowed_first(found, asked_for, k, forbidden)
            done = enough | (wanted == count)
            nearest[unfinished[done]] = lists[done]
            unfinished = unfinished[~done]
            wanted = 4 * wanted
    return nearest


def widen(points: np.ndarray, nearest: np.ndarray, forbidden: sparse.csr_matrix) -> np.ndarray:
    """Bring the neighbours of old rows up to date when new rows stand behind them.

    Args:
        points: float32 [n, D]: m old rows, then the new ones.
        nearest: int32 [m, k+1], the old rows' lists among themselves; m is more than k.
        forbidden: bool [n, n]. No old row is forbidden to a new one.

    Returns:
        int32 [n, k+1], the lists of all rows.
    """
    old, count = len(nearest), len(points)
    k = nearest.shape[1] - 1
    if old == count:
        return nearest

    # The cosine that a new row has to beat: that of the last in each old list. If that one is
    # forbidden, any new row is better.
    old_rows = np.arange(old)
    last = nearest[:, -1]
    to_beat = cosines(points, old_rows, last)
    last_is_forbidden = is_forbidden(forbidden, old_rows, last)
    to_beat[last_is_forbidden] = -np.inf

    # Asking for the best new row alone takes half the time; most old rows are done by that.
    search = searcher(points[old:])
    cosine, _ = search(points[:old], 1)
    changed = np.flatnonzero(cosine[:, 0] > to_beat)
    _, new_row = search(points[changed], min(k, count - old))
    candidates = old + new_row

    of_new_rows = neighbours(points, k, forbidden, np.arange(old, count))
    lists = np.concatenate([nearest, of_new_rows])
    lists[changed] = _merge_lists(points, forbidden, changed, nearest[changed], candidates)
    return lists


def _merge_lists(
    points: np.ndarray,
    forbidden: sparse.csr_matrix,
    rows: np.ndarray,
    lists: np.ndarray,
    candidates: np.ndarray,
) -> np.ndarray:
    """Put candidates into the lists of some rows, where they are nearer.

    Args:
        points: float32 [n, D].
        forbidden: bool [n, n].
        rows: int [r], whose lists these are.
        lists: int [r, k+1].
        candidates: int [r, c], none of which is in the lists.

    Returns:
        int [r, k+1].
    """
    both = np.concatenate([lists, candidates], 1)
    row_of = np.repeat(rows[:, None], both.shape[1], 1)
    cosine = cosines(points, row_of.ravel(), both.ravel())
    key = -cosine.reshape(both.shape)
    key[is_forbidden(forbidden, row_of, both)] += PENALTY
    key[:, 0] = KEY_OF_ITSELF
    width = lists.shape[1]
    order = np.lexsort((both, key), axis=1)
    return np.take_along_axis(both, order[:, :width], 1)


def _nearest_first(search: Search, points: np.ndarray, rows: np.ndarray, wanted: int) -> np.ndarray:
    """The `wanted` nearest of some rows, int [r, wanted].

    Each row is first in its own list; the others follow by similarity, then by number.
    """
    similar, near = search(points[rows], wanted)
    # A row is its own nearest, even among duplicates of it.
    is_self = near == rows[:, None]
    key = np.where(is_self, KEY_OF_ITSELF, -similar)
    without_self = ~is_self.any(1)
    near[without_self, -1] = rows[without_self]
    key[without_self, -1] = KEY_OF_ITSELF
    order = np.lexsort((near, key), axis=1)
    return np.take_along_axis(near, order, 1)


def _allowed_first(
    near: np.ndarray, rows: np.ndarray, k: int, forbidden: sparse.csr_matrix | None
) -> tuple[np.ndarray, np.ndarray]:
    """Move forbidden rows behind the others, and keep the first k + 1.

    Returns:
        The lists int [r, k+1], and whether each holds no forbidden row, bool [r].
    """
    if forbidden is None or not forbidden.nnz:
        return near[:, : k + 1], np.ones(len(near), bool)
    row_of = np.broadcast_to(rows[:, None], near.shape)
    never = is_forbidden(forbidden, row_of, near)
    order = np.argsort(never, axis=1, kind="stable")
    allowed = (~never).sum(1)
    return np.take_along_axis(near, order[:, : k + 1], 1), allowed > k


def cosines(points: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """The inner products of rows i and j of `points`, float32 [m].

    Args:
        points: float32 [n, D], unit length.
        i: int [m].
        j: int [m].
    """
    products = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        products[part] = np.einsum("nd,nd->n", points[i[part]], points[j[part]])
    return products


def is_forbidden(forbidden: sparse.csr_matrix, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Whether each pair of places i, j (of one shape) is forbidden, bool of that shape."""
    # SciPy answers a question about no pair with a matrix.
    if not i.size:
        return np.zeros(i.shape, bool)
    answers = forbidden[i.ravel(), j.ravel()]
    return np.asarray(answers).reshape(i.shape)
