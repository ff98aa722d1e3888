"""Whether a benchmark can be trained and measured on: asked before anything is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import SPLITS, Labels, findable, people_in
from cion_core.errors import CionError


def check(images: pd.DataFrame, where: Path | str) -> list[str]:
    """Find what is doubtful about a benchmark.

    Args:
        images: tables.Benchmark.
        where: what errors name.

    Returns:
        A sentence for each doubt; most often there are none.

    Raises:
        CionError: nothing can be learnt or measured on it; it names `where` and what is missing.
    """
    train, query, gallery = (images[images["split"] == split] for split in SPLITS)
    _refuse_untrainable(train, where)
    _refuse_one_camera(query, gallery, where)
    _refuse_unfindable(query, gallery, where)
    test = pd.concat([query, gallery])
    return [*_doubt_seen_in_training(train, test), *_doubt_relabelled_queries(query, gallery)]


def _refuse_untrainable(train: pd.DataFrame, where: Path | str) -> None:
    people = len(people_in(train))
    if people < 2:
        raise CionError(
            f"{where}: {people} people to train on; fine-tuning tells people apart, so it needs two"
        )


def _refuse_one_camera(query: pd.DataFrame, gallery: pd.DataFrame, where: Path | str) -> None:
    cameras = set(query["camera"]) | set(gallery["camera"])
    if len(cameras) == 1:
        raise CionError(
            f"{where}: all images of query and gallery come from camera {cameras.pop()}; people "
            "are sought under another camera than the query's, so there must be two. Do the "
            "names tell the camera?"
        )


def _refuse_unfindable(query: pd.DataFrame, gallery: pd.DataFrame, where: Path | str) -> None:
    shared = people_in(query) & people_in(gallery)
    if not shared:
        raise CionError(
            f"{where}: query and gallery share no person, so there is nothing to find; do they "
            "belong together?"
        )
    can_be_found = findable(Labels.of(query), Labels.of(gallery))
    if not can_be_found.any():
        raise CionError(
            f"{where}: no query's person is in the gallery under another camera, so there is "
            "nothing to measure; is this a re-identification benchmark?"
        )


def _doubt_seen_in_training(train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """A doubt, if images of query or gallery are training images too."""
    is_seen = test["sha256"].isin(train["sha256"])
    seen = int(is_seen.sum())
    if seen == 0:
        return []
    return [
        f"{seen} images of query and gallery are training images too, byte for byte; results "
        "flatter"
    ]


def _doubt_relabelled_queries(query: pd.DataFrame, gallery: pd.DataFrame) -> list[str]:
    """A doubt, if queries lie in the gallery under another person or camera.

    Under their own they do no harm: a ranking leaves out the query's own camera.
    """
    pairs = query.merge(gallery, on="sha256", suffixes=("", "_there"))
    other_camera = pairs["camera"] != pairs["camera_there"]
    other_person = pairs["person"] != pairs["person_there"]
    relabelled = pairs[other_camera | other_person]
    queries = relabelled["path"].nunique()
    if queries == 0:
        return []
    return [f"{queries} queries lie in the gallery byte for byte, under another camera or person"]
