"""Which cameras are hard to search from which: scores with the gallery cut down to one camera. Pure: arrays in and out.

For each query camera and each other gallery camera, the queries of the one are searched among the images of the other,
distractors included, junk not. A query counts where its person is there. Of a camera and itself there is no pair,
since the protocol removes whom it looks for. So one pair of cameras has fewer wrong images than the whole gallery has
and its scores are higher than the whole gallery's; compare them with one another.
"""

from __future__ import annotations

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, Labels
from cion_core.evaluate.metrics import Scores, chunks, join, score
from cion_core.evaluate.openset import Rows


def pairs(distances: Rows, query: Labels, gallery: Labels) -> list[dict]:
    """One row for each two cameras, ready for JSON: {query, gallery: the cameras; queries, mAP, rank1}.

    `distances` of `query` [Q] to `gallery` [G]. Scores in percent over the `queries` that have something to find in
    that pair; None where there is none. In the order of query cameras, then of gallery cameras.

    A chunk of queries' distances is asked for once, and each part of them is ranked that has something to find: never
    more than one evaluation of the whole gallery does.
    """
    columns = {camera: np.flatnonzero(gallery.camera == camera) for camera in np.unique(gallery.camera).tolist()}
    people = {camera: np.unique(gallery.person[at]) for camera, at in columns.items()}
    found: dict[tuple[int, int], list[Scores]] = {
        (seen, searched): [] for seen in np.unique(query.camera).tolist() for searched in columns if seen != searched
    }
    for rows in chunks(len(query)):
        near, who = distances[rows], query[rows]
        for camera, at in columns.items():
            there = np.isin(who.person, people[camera]) & (who.person > DISTRACTOR) & (who.camera != camera)
            some = np.flatnonzero(there)
            if not len(some):
                continue
            scores = score(near[np.ix_(some, at)], who[some], gallery[at])
            for seen in np.unique(who.camera[some]).tolist():
                mine = who.camera[some] == seen
                found[seen, camera].append(Scores(scores.ap[mine], scores.inp[mine], scores.first[mine]))
    return [{"query": seen, "gallery": searched, **_told(parts)} for (seen, searched), parts in found.items()]


def _told(parts: list[Scores]) -> dict[str, int | float | None]:
    """{queries, mAP, rank1} of the scores of one pair of cameras."""
    if not parts:
        return {"queries": 0, "mAP": None, "rank1": None}
    scores = join(parts)
    summary = scores.summary()
    return {"queries": int(scores.valid.sum()), "mAP": summary["mAP"], "rank1": summary["rank1"]}
