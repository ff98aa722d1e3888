"""k-reciprocal neighbourhoods of rows, sparse throughout (Zhong et al., CVPR 2017, section 3).

Two rows are k-reciprocal neighbours if each is among the other's k nearest. A row's neighbourhood
is the set of these, widened by the sets of its members where they overlap enough, and weighted by
how near its members are. Rows of one person have much the same neighbourhood, even where they look
different themselves; `overlap` says how much two neighbourhoods have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import sorted_unique
from cion_core.neighbours.search import QUERIES, cosines


@dataclass(frozen=True)
class Encoding:
    """What the paper says in one way and the authors' own program does in another.

    Args:
        spread: a neighbour at cosine distance d weighs exp(-spread * d). With 2 that is the squared
            Euclidean distance of unit rows.
        strict: the half-sized set of a member must overlap by more than two thirds of itself; if
            false, two thirds are enough.
        normalised: the weights of a row sum to 1 before rows are averaged, so that neighbourhoods
            of all sizes compare.
    """

    spread: float
    strict: bool
    normalised: bool


# github.com/zhunzhong07/person-re-ranking
AS_PROGRAMMED = Encoding(spread=2, strict=True, normalised=True)
# Sections 3.2 and 3.3, of the cosine distance.
AS_PUBLISHED = Encoding(spread=1, strict=False, normalised=False)


def neighbourhoods(
    points: np.ndarray,
    nearest: np.ndarray,
    k1: int,
    k2: int,
    rows: np.ndarray | None = None,
    encoding: Encoding = AS_PROGRAMMED,
) -> sparse.csr_matrix:
    """Encode each row by the weights of its k-reciprocal neighbourhood.

    Args:
        points: float32 [n, D], unit length.
        nearest: int32 [n, k+1], as `search.neighbours` gives it, of at least k1 and k2 - 1
            neighbours, or as many as there are.
        k1: how many nearest rows may be reciprocal neighbours.
        k2: over how many nearest rows (itself among them) weights are averaged.
        rows: encode these rows alone; None: all.
        encoding: as the paper says it, or as its authors programmed it.

    Returns:
        float32 [n, n], or [len(rows), n].
    """
    count = len(points)
    asked_for = nearest if rows is None else nearest[rows]
    averaged = asked_for[:, :k2]

    # Step 1: the reciprocal set of every row that takes part in an average.
    needed = sorted_unique(averaged.ravel().astype(np.int64))
    sets = reciprocal_sets(nearest, k1, needed, encoding.strict)

    # Step 2: weigh the members by how near they are.
    set_sizes = np.diff(sets.indptr)
    member_of = np.repeat(np.arange(count, dtype=np.int32), set_sizes)
    similar = cosines(points, member_of, sets.indices)
    weights = np.exp(encoding.spread * similar - encoding.spread)
    encoded = sparse.csr_matrix((weights, sets.indices, sets.indptr), sets.shape)
    if encoding.normalised:
        row_sums = np.asarray(encoded.sum(1)).ravel()
        scale = 1 / np.maximum(row_sums, 1e-9)
        encoded.data *= scale.astype(np.float32)[member_of]

    # Step 3: average over the k2 nearest rows ("local query expansion").
    width = averaged.shape[1]
    shares = np.full(averaged.size, np.float32(1) / width)
    row_ends = np.arange(0, averaged.size + 1, width)
    mean = sparse.csr_matrix((shares, averaged.ravel(), row_ends), (len(averaged), count))
    return (mean @ encoded).tocsr()


def reciprocal_sets(
    nearest: np.ndarray, k: int, rows: np.ndarray, strict: bool = True
) -> sparse.csr_matrix:
    """The widened reciprocal sets of section 3.2, there R with a star.

    As a program::

        for i in rows:
            R*(i) = R(i, k)
            for q in R(i, k):
                half = R(q, k / 2)
                if |R(i, k) ∩ half| > 2/3 |half|:    (>= if not strict)
                    R*(i) |= half

    Args:
        nearest: int32 [n, k+1], each row itself first.
        k: the size of the neighbourhood.
        rows: int64, sorted: whose sets are wanted; those of other rows are empty.
        strict: see `Encoding`.

    Returns:
        bool [n, n].
    """
    mutual = _mutual_neighbours(nearest, k, rows)
    members = sorted_unique(mutual.indices.astype(np.int64))
    half = _mutual_neighbours(nearest, max(1, round(k / 2)), members)
    half_sizes = np.asarray(half.sum(1)).ravel()

    # Entry (i, q) of `shared`: |R(i, k) ∩ R(q, k / 2)|, for the members q of R(i, k) alone.
    shared = (mutual @ half.T).multiply(mutual).tocoo()
    thrice_shared = 3 * shared.data
    twice_size = 2 * half_sizes[shared.col]
    agree = thrice_shared > twice_size if strict else thrice_shared >= twice_size

    row, member = shared.row[agree], shared.col[agree]
    widening = sparse.csr_matrix((shared.data[agree], (row, member)), shape=mutual.shape)
    widened = mutual + widening @ half
    return widened.astype(bool).tocsr()


def _mutual_neighbours(nearest: np.ndarray, k: int, rows: np.ndarray) -> sparse.csr_matrix:
    """R(i, k) of section 3.1 for some rows (sorted; the others are empty), float32 [n, n] of ones.

    Row i holds itself, and those of its k nearest whose k nearest it is among.
    """
    count = len(nearest)
    width = min(k + 1, nearest.shape[1])
    near = np.sort(nearest[rows, :width], 1)

    is_mutual = np.empty(near.shape, bool)
    for start in range(0, len(rows), QUERIES):
        part = slice(start, start + QUERIES)
        lists_of_near = nearest[near[part], :width]
        is_row = lists_of_near == rows[part, None, None]
        is_mutual[part] = is_row.any(-1)

    sizes = np.zeros(count + 1, np.int64)
    sizes[rows + 1] = is_mutual.sum(1)
    row_ends = np.cumsum(sizes)
    ones = np.ones(row_ends[-1], np.float32)
    return sparse.csr_matrix((ones, near[is_mutual], row_ends), shape=(count, count))
