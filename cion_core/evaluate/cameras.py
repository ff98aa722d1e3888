"""Which cameras are hard to search from which: scores with the gallery cut down to one camera.

For each query camera and each other gallery camera, the queries of the one are searched among the
images of the other, distractors included, junk not. A query counts where its person is there. Of a
camera and itself there is no pair, since the protocol removes whom it looks for. One pair
of cameras has fewer wrong images than the whole gallery, so its scores are higher: compare pairs
with one another. Arrays in and out.
"""

from __future__ import annotations

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, Labels
from cion_core.evaluate.metrics import DistanceRows, Scores, join_scores, query_chunks, score


def score_pairs(distances: DistanceRows, query: Labels, gallery: Labels) -> list[dict]:
    """Score each two cameras.

    The distances of a chunk of queries are asked for once. Of them only the parts in which there
    is something to find are ranked, which is no more work than one evaluation of the whole gallery.

    Args:
        distances: of the queries to the gallery.
        query: of the queries.
        gallery: of the gallery images.

    Returns:
        One row for each pair, ready for JSON: `query` and `gallery`, the cameras; `queries`, how
        many have something to find in that pair; `mAP` and `rank1` over them in percent, None where
        there are none. In the order of query cameras, then of gallery cameras.
    """
    cameras = np.unique(gallery.camera).tolist()
    images = {camera: np.flatnonzero(gallery.camera == camera) for camera in cameras}
    people = {camera: np.unique(gallery.person[images[camera]]) for camera in cameras}
    parts: dict[tuple[int, int], list[Scores]] = {
        (seen_by, searched): []
        for seen_by in np.unique(query.camera).tolist()
        for searched in cameras
        if seen_by != searched
    }
    for rows in query_chunks(len(query)):
        distance, chunk = distances[rows], query[rows]
        is_somebody = chunk.person > DISTRACTOR
        for searched in cameras:
            is_there = np.isin(chunk.person, people[searched])
            from_elsewhere = chunk.camera != searched
            some = np.flatnonzero(is_somebody & is_there & from_elsewhere)
            if not len(some):
                continue
            columns = images[searched]
            part = distance[np.ix_(some, columns)]
            scores = score(part, chunk[some], gallery[columns])
            camera = chunk.camera[some]
            for seen_by in np.unique(camera).tolist():
                own = scores[camera == seen_by]
                parts[seen_by, searched].append(own)
    return [
        {"query": seen_by, "gallery": searched, **_summarise(found)}
        for (seen_by, searched), found in parts.items()
    ]


def _summarise(parts: list[Scores]) -> dict[str, int | float | None]:
    """{queries, mAP, rank1} of the scores of one pair of cameras."""
    if not parts:
        return {"queries": 0, "mAP": None, "rank1": None}
    scores = join_scores(parts)
    summary = scores.summary()
    return {
        "queries": int(scores.findable.sum()),
        "mAP": summary["mAP"],
        "rank1": summary["rank1"],
    }
