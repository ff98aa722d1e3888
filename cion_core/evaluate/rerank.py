"""k-reciprocal re-ranking.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

Pure, and sparse: memory grows with images x neighbours; distances are made of the queries that are
asked for.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cion_core.evaluate.metrics import cosine_distances
from cion_core.neighbours import all_pairs, search
from cion_core.neighbours.k_reciprocal import AS_PUBLISHED, neighbourhoods
from cion_core.neighbours.overlap import Jaccard


class Reranked:
    """Re-ranked distances of queries to a gallery: `reranked[rows]` is float32 [len(rows), G].

    The Jaccard distance of the k-reciprocal neighbourhoods (section 3.3), encoded with Gaussian
    weights exp(-d) and averaged over the k2 nearest images (3.4), is mixed with the cosine distance
    (3.5). Neighbours are looked for among queries and gallery together and an image is its own
    first neighbour, as in the authors' code; d is the cosine distance.

    Args:
        query: float32 [Q, D], unit length.
        gallery: float32 [G, D], unit length.
        k1: how many nearest images may be reciprocal neighbours.
        k2: over how many nearest images an encoding is averaged.
        original: the share of the cosine distance, the paper's lambda.
        device: cpu, or cuda where FAISS may search on GPUs.
    """

    def __init__(
        self,
        query: np.ndarray,
        gallery: np.ndarray,
        k1: int = 20,
        k2: int = 6,
        original: float = 0.3,
        device: str = "cpu",
    ) -> None:
        features = np.concatenate((query, gallery)).astype(np.float32, copy=False)
        find_nearest = all_pairs.neighbours if device == "cpu" else search.neighbours
        nearest = find_nearest(features, max(k1, k2 - 1))
        encoded = neighbourhoods(features, nearest, k1, k2, encoding=AS_PUBLISHED)
        self._jaccard = Jaccard(encoded)
        self._query = query
        self._gallery = gallery
        self._original = original

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        # Queries and gallery are numbered as one sequence; the gallery begins here.
        gallery_begin = len(self._query)
        rows = np.arange(gallery_begin)[rows]
        jaccard_share = 1 - self._original
        distance = cosine_distances(self._query[rows], self._gallery)
        distance *= self._original
        distance += jaccard_share

        def take_off_overlap(block: slice, place: int) -> None:
            """For a block of queries, whose distances begin at row `place`."""
            query, image, similarity = self._jaccard.of(block)
            in_gallery = image >= gallery_begin
            line = query[in_gallery] - block.start + place
            column = image[in_gallery] - gallery_begin
            distance[line, column] -= jaccard_share * similarity[in_gallery]

        # Stretches of consecutive queries, cut into blocks of bounded memory.
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        blocks = []
        for stretch in np.split(rows, breaks):
            if len(stretch):
                queries = slice(stretch[0], stretch[-1] + 1)
                blocks += self._jaccard.blocks(queries)
        sizes = [block.stop - block.start for block in blocks]
        places = np.cumsum([0, *sizes])[:-1].tolist()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(take_off_overlap, blocks, places))
        return distance
