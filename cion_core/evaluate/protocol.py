"""From features to scores and ranked lists: Market-1501's protocol, in memory bounded by a chunk of queries."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.benchmark.labels import Labels, findable
from cion_core.evaluate.metrics import Scores, chunks, cosine, join, rank, score
from cion_core.evaluate.rerank import Reranked

SHOWN, DEPTH = 12, 10  # queries whose ranked lists are kept, and their length


class Distances:
    """Distances of query rows to the whole gallery, float32 [len(rows), G], made when they are asked for.

    Of L2-normalised features [Q, D] and [G, D]: cosine distances, or with `reranking` the k-reciprocal ones. `device`:
    where (cpu, cuda) `scores` compares and ranks; re-ranking finds neighbours there.
    """

    def __init__(self, query: np.ndarray, gallery: np.ndarray, reranking: bool = False, device: str = "cpu") -> None:
        self.query, self.gallery, self.device = query, gallery, device
        self.reranked = Reranked(query, gallery, device=device) if reranking else None

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return cosine(self.query[rows], self.gallery) if self.reranked is None else self.reranked[rows]


def scores(distances: Distances, query: Labels, gallery: Labels) -> Scores:
    """Scores of every query."""
    if distances.device == "cpu" or distances.reranked is not None:
        return join([score(distances[rows], query[rows], gallery) for rows in chunks(len(query))])
    from cion_core.evaluate import tensors  # torch takes a second to load

    compared = tensors.cosines(distances.query, distances.gallery, distances.device)
    return join([tensors.score(compared(rows), query[rows], gallery) for rows in chunks(len(query))])


def sample(query: Labels, gallery: Labels, count: int = SHOWN) -> np.ndarray:
    """Rows of at most `count` queries, spread over those with something to find; the same for every model."""
    rows = np.flatnonzero(findable(query, gallery))
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def ranked(
    distances: Distances, query: Labels, gallery: Labels, rows: np.ndarray, query_path: np.ndarray,
    gallery_path: np.ndarray, depth: int = DEPTH,
) -> pd.DataFrame:  # fmt: skip
    """The first `depth` ranks of the queries in `rows`, after junk removal, as tables.Ranked."""
    found = distances[rows]
    order, kept, right = rank(found, query[rows], gallery)
    lists = []
    for i, row in enumerate(rows):
        first = np.flatnonzero(kept[i])[:depth]
        at = order[i, first]
        lists.append(
            pd.DataFrame(
                {
                    "query": query_path[row],
                    "rank": np.arange(1, len(at) + 1),
                    "gallery": gallery_path[at],
                    "distance": found[i, at].astype(float),
                    "right": right[i, first],
                }
            )
        )
    return pd.concat(lists, ignore_index=True)
