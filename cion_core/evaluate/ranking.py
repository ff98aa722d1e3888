"""From features to distances, to scores (`metrics`) and to ranked lists; some queries at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.benchmark.labels import Labels, findable
from cion_core.evaluate.metrics import (
    Scores,
    cosine_distances,
    join_scores,
    query_chunks,
    rank_gallery,
    score,
)
from cion_core.evaluate.rerank import Reranked

# Queries whose ranked lists are kept.
SHOWN = 12
# How long a ranked list is.
DEPTH = 10


class Distances:
    """Distances of query rows to the whole gallery, made when they are asked for.

    `distances[rows]` is float32 [len(rows), G].

    Args:
        query: float32 [Q, D], unit length.
        gallery: float32 [G, D], unit length.
        reranking: k-reciprocal distances instead of cosine distances.
        device: cpu or cuda, where `score_queries` compares and ranks, and where re-ranking searches
            for neighbours. `distances[rows]` is made on the CPU.
    """

    def __init__(
        self, query: np.ndarray, gallery: np.ndarray, reranking: bool = False, device: str = "cpu"
    ) -> None:
        self.query = query
        self.gallery = gallery
        self.device = device
        self.reranked = Reranked(query, gallery, device=device) if reranking else None

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if self.reranked is not None:
            return self.reranked[rows]
        return cosine_distances(self.query[rows], self.gallery)


def score_queries(distances: Distances, query: Labels, gallery: Labels) -> Scores:
    """Score every query, where the distances' device is."""
    chunks = query_chunks(len(query))
    if distances.device == "cpu" or distances.reranked is not None:
        parts = [score(distances[rows], query[rows], gallery) for rows in chunks]
        return join_scores(parts)
    # Imported here, for torch takes a second to load.
    from cion_core.evaluate import tensors

    compare = tensors.comparer(distances.query, distances.gallery, distances.device)
    parts = [tensors.score(compare(rows), query[rows], gallery) for rows in chunks]
    return join_scores(parts)


def sample_queries(query: Labels, gallery: Labels, count: int = SHOWN) -> np.ndarray:
    """Rows of at most `count` queries that have something to find, evenly spread.

    They are the same for every model.
    """
    rows = np.flatnonzero(findable(query, gallery))
    wanted = min(count, len(rows))
    spread = np.linspace(0, len(rows) - 1, wanted)
    places = np.unique(spread.astype(int))
    return rows[places]


def ranked_lists(
    distances: Distances,
    query: Labels,
    gallery: Labels,
    rows: np.ndarray,
    query_path: np.ndarray,
    gallery_path: np.ndarray,
    depth: int = DEPTH,
) -> pd.DataFrame:
    """The first ranks of some queries, after junk removal.

    Args:
        distances: of all queries to the gallery.
        query: of all queries.
        gallery: of all gallery images.
        rows: int, the queries whose lists are wanted.
        query_path: of each query, text [Q].
        gallery_path: of each gallery image, text [G].
        depth: how many ranks.

    Returns:
        A tables.Ranked.
    """
    distance = distances[rows]
    order, kept, right = rank_gallery(distance, query[rows], gallery)
    lists = []
    for place, row in enumerate(rows):
        first = np.flatnonzero(kept[place])[:depth]
        images = order[place, first]
        ranks = {
            "query": query_path[row],
            "rank": np.arange(1, len(images) + 1),
            "gallery": gallery_path[images],
            "distance": distance[place, images].astype(float),
            "right": right[place, first],
        }
        lists.append(pd.DataFrame(ranks))
    return pd.concat(lists, ignore_index=True)
