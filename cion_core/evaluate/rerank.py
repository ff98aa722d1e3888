"""k-reciprocal re-ranking.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

Pure, and sparse: memory grows with images x neighbours; distances are made of the queries that are asked for.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cion_core.evaluate.metrics import cosine
from cion_core.neighbours import all_pairs, search
from cion_core.neighbours.k_reciprocal import AS_PUBLISHED, neighbourhoods
from cion_core.neighbours.overlap import Jaccard


class Reranked:
    """Re-ranked distances of L2-normalised features [Q, D] and [G, D]: `reranked[rows]` is float32 [len(rows), G].

    `original` is the paper's lambda, the share of the cosine distance in the result (§3.5); the rest is the
    Jaccard distance of the k-reciprocal neighbourhoods (§3.3), encoded with Gaussian weights exp(-d) and
    averaged over the k2 nearest images (§3.4). Neighbours are looked for among queries and gallery together and
    an image is its own first neighbour, as in the authors' code; d is the cosine distance. `device`: cpu, or cuda
    where FAISS may search on GPUs.
    """

    def __init__(
        self, query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, original: float = 0.3,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        features = np.concatenate((query, gallery)).astype(np.float32, copy=False)
        find = all_pairs.neighbours if device == "cpu" else search.neighbours
        nearest = find(features, max(k1, k2 - 1))
        self._jaccard = Jaccard(neighbourhoods(features, nearest, k1, k2, encoding=AS_PUBLISHED))
        self._query, self._gallery, self._original = query, gallery, original

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        first = len(self._query)  # of the gallery, among all images
        rows = np.arange(first)[rows]
        result = cosine(self._query[rows], self._gallery)
        result *= self._original
        result += 1 - self._original

        def fill(part: slice, place: int) -> None:
            i, j, similarity = self._jaccard.of(part)
            other = j >= first  # a query is not compared with queries
            result[i[other] - part.start + place, j[other] - first] -= (1 - self._original) * similarity[other]

        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        parts = [part for run in runs if len(run) for part in self._jaccard.blocks(slice(run[0], run[-1] + 1))]
        sizes = [part.stop - part.start for part in parts]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, parts, np.cumsum([0, *sizes])[:-1].tolist()))
        return result
