"""Whether a benchmark can be trained and measured on: asked before anything is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import DISTRACTOR, SPLITS, findable, labels
from cion_core.errors import CionError


def check(images: pd.DataFrame, where: Path | str) -> list[str]:
    """Find what is doubtful about a benchmark.

    Args:
        images: tables.Benchmark.
        where: what errors name.

    Returns:
        A sentence each; most often nothing.

    Raises:
        CionError: nothing can be learnt or measured on it; it names `where` and what is missing.
    """
    train, query, gallery = (images[images["split"] == split] for split in SPLITS)
    _trainable(train, where)
    _measurable(query, gallery, where)
    return [*_seen_in_training(train, pd.concat([query, gallery])), *_given_away(query, gallery)]


def _people(part: pd.DataFrame) -> set[int]:
    return set(part["person"][part["person"] > DISTRACTOR])


def _trainable(train: pd.DataFrame, where: Path | str) -> None:
    people = len(_people(train))
    if people < 2:
        raise CionError(
            f"{where}: {people} people to train on; fine-tuning tells people apart, so it needs two"
        )


def _measurable(query: pd.DataFrame, gallery: pd.DataFrame, where: Path | str) -> None:
    cameras = set(query["camera"]) | set(gallery["camera"])
    if len(cameras) == 1:
        raise CionError(
            f"{where}: all images of query and gallery come from camera {cameras.pop()}; people "
            "are sought under another camera than the query's, so there must be two. Do the "
            "names tell the camera?"
        )
    if not _people(query) & _people(gallery):
        raise CionError(
            f"{where}: query and gallery share no person, so there is nothing to find; do they "
            "belong together?"
        )
    if not findable(labels(query), labels(gallery)).any():
        raise CionError(
            f"{where}: no query's person is in the gallery under another camera, so there is "
            "nothing to measure; is this a re-identification benchmark?"
        )


def _seen_in_training(train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    same = int(test["sha256"].isin(train["sha256"]).sum())
    return [
        f"{same} images of query and gallery are training images too, byte for byte; results "
        "flatter"
    ] * bool(same)


def _given_away(query: pd.DataFrame, gallery: pd.DataFrame) -> list[str]:
    """Say which queries lie in the gallery as well, under another label or camera.

    The same file in both is harmless where its label is the same: a ranking leaves out the query's
    own camera.
    """
    pairs = query.merge(gallery, on="sha256", suffixes=("", "_there"))
    other = (pairs["camera"] != pairs["camera_there"]) | (pairs["person"] != pairs["person_there"])
    same = int(pairs["path"][other].nunique())
    return [
        f"{same} queries lie in the gallery byte for byte, under another camera or person"
    ] * bool(same)
