"""Level 3: reciprocal links on people that can be told apart, the range, and who must stay apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import cross_video
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Settings
from cion_core.neighbours.arrays import unit


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


def world(
    seed: int, people: int = 24, videos: int = 6, spread: float = 0.35
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Each person once in each video, all together for its one frame; 3 crops per tracklet."""
    rng = np.random.default_rng(seed)
    looks, offset = rng.normal(size=(people, 24)), rng.normal(size=(videos, 24))
    person, video = (grid.ravel() for grid in np.meshgrid(np.arange(people), np.arange(videos)))
    features = looks[person] + offset[video] + spread * rng.normal(size=(len(person), 24))
    features = np.repeat(features, 3, 0) + 0.1 * rng.normal(size=(3 * len(person), 24))
    crops = pd.DataFrame({
        "crop": np.arange(len(features)), "video": np.repeat([f"v{v}" for v in video], 3),
        "frame": np.tile([0, 1, 2], len(person)), "tracklet": np.repeat(np.arange(len(person)), 3),
    })  # fmt: skip
    return crops, unit(features), np.repeat(person, 3)


@pytest.mark.parametrize("size", ["all", 96])
def test_reciprocal_finds_the_people(size: int | str) -> None:
    crops, features, person = world(0)
    level = cross_video.denoise(crops, features, crops.tracklet.to_numpy(), Settings(range=size))
    assert partition(level.labels) == partition(person)
    assert (level.labels == pd.Series(crops.tracklet).groupby(person).transform("min")).all()
    assert level.after.close_pairs == 0 < level.before.close_pairs
    assert set(level.ledger.action) == {"linked"} and level.calibration["separation"].negatives > 1000


def test_a_range_beyond_the_sequence_is_exact() -> None:
    crops, features, _ = world(1, spread=1.2)
    tracklets = crops.tracklet.to_numpy()
    delta = {"cross_video": 0.7}
    whole = cross_video.denoise(crops, features, tracklets, Settings(separation=delta, range="all"))
    wide = cross_video.denoise(crops, features, tracklets, Settings(separation=delta, range=500))
    np.testing.assert_array_equal(wide.labels, whole.labels)


@pytest.mark.parametrize("linking", RULES.names())
def test_people_seen_together_stay_apart_however_alike(linking: str) -> None:
    crops, features, _ = world(2, spread=4.0)
    settings = Settings(separation={"cross_video": 0.95}, linking=linking)
    level = cross_video.denoise(crops, features, crops.tracklet.to_numpy(), settings)
    together = pd.DataFrame({"video": crops.video, "frame": crops.frame, "label": level.labels})
    assert not together.duplicated().any()
    assert (level.labels >= 0).all()


def test_crops_without_an_identity_stay_so_and_out_of_the_ledger() -> None:
    crops, features, _ = world(0)
    labels = np.where(np.arange(len(crops)) % 3 == 2, -1, crops.tracklet)
    level = cross_video.denoise(crops, features, labels, Settings())
    assert ((level.labels < 0) == (labels < 0)).all()
    assert level.ledger.crop.tolist() == np.flatnonzero(labels >= 0).tolist()


def test_the_ledger_holds_what_decided() -> None:
    crops, features, _ = world(0, people=8)
    labels = crops.tracklet.to_numpy()
    features[labels == 3] = -features[labels == 3]  # like nobody
    level = cross_video.denoise(crops, features, labels, Settings(separation={"cross_video": 0.7}))
    told = level.ledger
    assert set(told.rule) == {"reciprocal"} == {level.links.rule} and (told.limit == 0.7).all()
    linked = told.action == "linked"
    assert (told.distance[linked] <= 0.7).all() and (told.to[linked] == told.to[linked].map(int)).all()
    identity = pd.Series(level.links.identity, level.links.names)
    assert (identity[told.other[linked]].to_numpy() == told.to[linked]).all()  # who it was linked with is with it
    assert (told["from"][linked] != told.other[linked]).all()
    kept = told[~linked]
    assert len(kept) and (kept.other == -1).all() and kept.distance.isna().all() and (kept["from"] == kept.to).all()


def test_unknown_linking_names_the_valid_ones() -> None:
    with pytest.raises(
        ValueError, match=r"denoise\.linking: unknown linking rule 'nearest'; valid are published, reciprocal"
    ):
        Settings(linking="nearest")
