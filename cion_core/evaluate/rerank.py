"""k-reciprocal re-ranking.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

Pure, and sparse: memory grows with images x neighbours, not with images squared.
"""

from __future__ import annotations

import numpy as np

from cion_core.evaluate.metrics import chunks, cosine
from cion_core.neighbours import search
from cion_core.neighbours.k_reciprocal import AS_PUBLISHED, jaccard_from, neighbourhoods


def rerank(query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, original: float = 0.3) -> np.ndarray:
    """Re-ranked distances float32 [Q, G] of L2-normalised features [Q, D] and [G, D].

    `original` is the paper's lambda, the share of the cosine distance in the result (§3.5); the rest is the
    Jaccard distance of the k-reciprocal neighbourhoods (§3.3), encoded with Gaussian weights exp(-d) and
    averaged over the k2 nearest images (§3.4). Neighbours are looked for among queries and gallery together and
    an image is its own first neighbour, as in the authors' code; d is the cosine distance.
    """
    features = np.concatenate((query, gallery)).astype(np.float32)
    nearest = search.neighbours(features, max(k1, k2 - 1))
    encoded = neighbourhoods(features, nearest, k1, k2, encoding=AS_PUBLISHED)
    result = np.ones((len(query), len(gallery)), np.float32)
    for i, j, similarity in jaccard_from(encoded, len(query)):
        other = j >= len(query)  # a query is not compared with queries
        result[i[other], j[other] - len(query)] -= similarity[other]
    result *= 1 - original
    for rows in chunks(len(query)):
        result[rows] += original * cosine(query[rows], gallery)
    return result
