"""k-reciprocal neighbours and their Jaccard similarity, sparse throughout (Zhong et al., CVPR 2017, section 3)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

PAIRS = 1_000_000  # (row, row, column) triples joined at a time: bounds memory
BLOCK = 1024
SCALES = (8, 12, 18)
COSINE = 0.2  # share of the cosine in the similarity of two rows whose neighbourhoods meet


def neighbours(points: np.ndarray, k: int, forbidden: sparse.csr_matrix | None = None) -> np.ndarray:
    """The k + 1 nearest rows of each row of `points` (unit, [n, D]), itself first, int [n, k+1]; k is at most n - 1.

    Exact, brute force. Rows that are `forbidden` (symmetric [n, n]) come last, whatever their distance.
    """
    n = len(points)
    k = min(k, n - 1)
    index = np.empty((n, k + 1), np.int64)
    for start in range(0, n, BLOCK):
        d = 1 - points[start : start + BLOCK] @ points.T
        if forbidden is not None:
            d[forbidden[start : start + BLOCK].nonzero()] = 3
        d[np.arange(len(d)), start + np.arange(len(d))] = -1  # a row is its own nearest, even among duplicates
        part = np.argpartition(d, k, axis=1)[:, : k + 1]
        near = np.take_along_axis(d, part, 1)
        index[start : start + BLOCK] = np.take_along_axis(part, np.lexsort((part, near), axis=1), 1)
    return index


def _graph(index: np.ndarray, k: int) -> sparse.csr_matrix:
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


def jaccard(points: np.ndarray, index: np.ndarray, k1: int, k2: int) -> sparse.csr_matrix:
    """Jaccard similarity of the rows' k-reciprocal neighbourhoods, in (0, 1], sparse symmetric [n, n], no diagonal.

    1 - similarity is the Jaccard distance of Zhong et al.; an absent entry is distance 1. index: `neighbours` of at
    least k1. Each row's neighbourhood is weighted by exp(-||a - b||²) and averaged over its k2 nearest rows (itself
    among them).
    """
    n = len(points)
    sets = reciprocal_sets(index, k1).tocoo()
    weight = np.exp(2 * np.einsum("nd,nd->n", points[sets.row], points[sets.col]) - 2)
    v = sparse.csr_matrix((weight, (sets.row, sets.col)), shape=(n, n))
    v = sparse.diags(1 / np.asarray(v.sum(1)).ravel()) @ v
    near = _graph(index, k2 - 1)
    return overlap((near / near[0].sum()) @ v)


def similarity(points: np.ndarray, forbidden: sparse.csr_matrix | None = None) -> sparse.csr_matrix:
    """Mean Jaccard similarity over neighbourhoods of several SCALES, and the cosine; sparse symmetric, no diagonal.

    How often a person was seen is not known, and one size of neighbourhood suits few: in a small one people seen
    often fall apart, in a large one those seen rarely drown. The cosine orders what neighbourhoods find equal (Zhong
    et al., equation 12). Rows that point apart (cosine 0 or less: after the mean is taken off, nothing in common)
    have no similarity however few others there are.
    """
    n = len(points)
    if n < 3:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    index = neighbours(points, max(SCALES), forbidden)
    scales = [max(1, min(k, n // 4)) for k in SCALES]
    mean = (sum(jaccard(points, index, k, min(n, max(2, round(k / 3.5)))) for k in scales) / len(scales)).tocoo()
    cosine = np.empty(len(mean.data), np.float32)
    for start in range(0, len(cosine), PAIRS):
        part = slice(start, start + PAIRS)
        cosine[part] = np.einsum("nd,nd->n", points[mean.row[part]], points[mean.col[part]])
    value = (1 - COSINE) * mean.data + COSINE * cosine
    alike = cosine > 0
    return sparse.csr_matrix((value[alike], (mean.row[alike], mean.col[alike])), shape=(n, n))


def overlap(v: sparse.csr_matrix) -> sparse.csr_matrix:
    """Weighted Jaccard similarity Σ min / Σ max of the rows of `v` (each sums to 1), without the diagonal."""
    v = v.tocsr()
    columns = v.T.tocsr()  # columns[c]: the rows that hold c
    joins = np.diff(columns.indptr)[v.indices]  # how many rows each entry meets
    ends = np.cumsum(joins)
    blocks, first = [], 0
    n = v.shape[0]
    while first < n:
        base = ends[v.indptr[first] - 1] if v.indptr[first] else 0
        last = int(np.searchsorted(ends[v.indptr[1:] - 1], base + PAIRS, side="right"))
        last = min(n, max(last, first + 1))
        entries = np.arange(v.indptr[first], v.indptr[last])
        meets = joins[entries]
        row = np.repeat(np.repeat(np.arange(last - first), np.diff(v.indptr[first : last + 1])), meets)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(meets) - meets, meets)
        other = np.repeat(columns.indptr[v.indices[entries]], meets) + offset
        least = np.minimum(np.repeat(v.data[entries], meets), columns.data[other])
        blocks.append(sparse.csr_matrix((least, (row, columns.indices[other])), shape=(last - first, n)))
        first = last
    shared = sparse.vstack(blocks).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    shared.data = (shared.data / (2 - shared.data)).astype(np.float32)
    return shared
