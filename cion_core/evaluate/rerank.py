"""k-reciprocal re-ranking.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

Pure, and sparse: memory grows with images x neighbours, not with images squared.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from cion_core.evaluate.metrics import chunks, cosine


def rerank(query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, original: float = 0.3) -> np.ndarray:
    """Re-ranked distances float32 [Q, G] of L2-normalised features [Q, D] and [G, D].

    `original` is the paper's lambda, the share of the cosine distance in the result (§3.5); the rest is the
    Jaccard distance of the k-reciprocal neighbourhoods (§3.3), encoded with Gaussian weights exp(-d) and
    averaged over the k2 nearest images (§3.4). Neighbours are looked for among queries and gallery together and
    an image is its own first neighbour, as in the authors' code; d is the cosine distance.
    """
    features = np.concatenate((query, gallery)).astype(np.float32)
    nearest = _nearest(features, k1)
    encoded = _ones(nearest[:, :k2]) / k2 @ _encode(features, _expand(nearest, k1))
    result = _jaccard(encoded[: len(query)], encoded[len(query) :])
    result *= 1 - original
    for rows in chunks(len(query)):
        result[rows] += original * cosine(query[rows], gallery)
    return result


def _nearest(features: np.ndarray, k: int) -> np.ndarray:
    """The k + 1 nearest images of each, itself first: int64 [N, k + 1]."""
    n = len(features)
    nearest = np.empty((n, min(k + 1, n)), np.int64)
    for rows in chunks(n):
        block = cosine(features[rows], features)
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = -1  # itself, before any equal feature
        nearest[rows] = np.argsort(block, axis=1, kind="stable")[:, : k + 1]
    return nearest


def _ones(columns: np.ndarray) -> sparse.csr_array:
    """[N, N] with a one at (i, j) for every j in columns[i]."""
    n, width = columns.shape
    data = np.ones(columns.size, np.float32)
    return sparse.csr_array((data, columns.ravel(), np.arange(0, columns.size + 1, width)), shape=(n, n))


def _expand(nearest: np.ndarray, k1: int) -> sparse.csr_array:
    """R*(p, k1), §3.2: [N, N], not zero at the members."""
    full, half = (_reciprocal(_ones(nearest[:, : k + 1])) for k in (k1, round(k1 / 2)))
    # of each q in R(p, k1), take in R(q, k1/2) where at least two thirds of that are shared with R(p, k1)
    shared = full.multiply(full @ half.T).tocsr()
    shared.data = (3 * shared.data >= 2 * half.sum(axis=1)[shared.indices]).astype(np.float32)
    return (full + shared @ half).tocsr()


def _reciprocal(hits: sparse.csr_array) -> sparse.csr_array:
    """R(p, k), §3.2: what is among the nearest of p and has p among its own."""
    return hits.multiply(hits.T).tocsr()


def _encode(features: np.ndarray, members: sparse.csr_array) -> sparse.csr_array:
    """V, §3.3: exp(-d(p, g)) at the members g of each p."""
    members.eliminate_zeros()
    for rows in chunks(len(features)):
        of = slice(members.indptr[rows.start], members.indptr[rows.stop])
        row = np.repeat(np.arange(rows.start, rows.stop), np.diff(members.indptr[rows.start : rows.stop + 1]))
        similarity = np.einsum("nd,nd->n", features[row], features[members.indices[of]])
        members.data[of] = np.exp(similarity - 1)
    return members


def _jaccard(query: sparse.csr_array, gallery: sparse.csr_array) -> np.ndarray:
    """§3.3: 1 - sum of minima / sum of maxima, float32 [Q, G]."""
    low = np.zeros((query.shape[0], gallery.shape[0]), np.float32)
    column = gallery.tocsc()
    for i in range(len(low)):
        for at in range(query.indptr[i], query.indptr[i + 1]):
            j = query.indices[at]
            of = slice(column.indptr[j], column.indptr[j + 1])
            low[i, column.indices[of]] += np.minimum(query.data[at], column.data[of])
    high = query.sum(axis=1)[:, None] + gallery.sum(axis=1)[None] - low
    return 1 - low / high
