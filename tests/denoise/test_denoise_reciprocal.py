"""Reciprocal linking: how far it links, and what it says of it; also on real people, if there."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import Settings, denoise
from cion_core.denoise.linking.rules import reciprocal
from cion_core.neighbours.arrays import unit

SHARED = Path(__file__).parents[3] / "shared/data/reid_tracklets.npz"


def crowd(
    people: int, each: int, blur: float = 0.7, dim: int = 24, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Everybody in `each` of eight videos, three crops to a tracklet, nobody seen with anybody."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    video = np.concatenate([rng.permutation(8)[:each] for _ in range(people)])
    looks = rng.normal(size=(people, dim))[person] + blur * rng.normal(size=(len(person), dim))
    features = np.repeat(looks, 3, 0) + 0.1 * rng.normal(size=(3 * len(person), dim))
    crops = pd.DataFrame({
        "crop": np.arange(len(features)), "video": [f"v{v}" for v in np.repeat(video, 3)],
        "frame": np.arange(len(features)), "tracklet": np.repeat(np.arange(len(person)), 3),
        "person": np.repeat(person, 3),
    })  # fmt: skip
    return crops, unit(features)


def wrong(crops: pd.DataFrame, labels: np.ndarray) -> float:
    """Pairs of tracklets of two people in one identity, for each tracklet."""
    first = crops.assign(label=labels).drop_duplicates("tracklet")
    together = first.groupby("label").size()
    right = first.groupby(["label", "person"]).size()
    return float(((together * (together - 1)).sum() - (right * (right - 1)).sum()) / 2 / len(first))


def test_clear_people_are_linked_far_and_strangers_hardly() -> None:
    reach = {}
    for each in (4, 1):
        crops, features = crowd(400 // each, each)
        last = denoise(crops, features).levels[-1]
        reach[each] = last.thresholds.separation
        assert "of the links are right" in last.calibration["separation"].rule
        assert wrong(crops, last.labels) < (0.1 if each == 1 else 0.5)
    assert reach[4] > reach[1] + 0.1


def test_what_is_said_of_links_is_what_is_believed() -> None:
    level = denoise(*crowd(100, 4)).levels[-1]
    curve = pd.DataFrame(level.calibration["separation"].points)
    assert (curve.right.diff().dropna() <= 0).all()  # the farther, the fewer are right
    share = np.interp(level.thresholds.separation, curve.threshold, curve.right)
    assert f"an estimated {share:.0%}" in level.calibration["separation"].rule


def test_too_few_to_tell_are_linked_by_neighbourhoods_alone() -> None:
    found = denoise(*crowd(7, 4)).levels[-1]
    assert found.thresholds.separation == reciprocal.WITHOUT_STRANGERS and found.links is not None
    assert "28 tracklets are too few" in found.calibration["separation"].rule
    assert np.isnan(found.links.probability).all()


def test_nothing_jumps_where_people_come_again_a_little_more_often() -> None:
    """One after another, people are seen a second time, and links grow by as many."""
    crops, features = crowd(300, 2)
    second = crops.groupby("person").tracklet.transform("max") == crops.tracklet
    links = []
    for again in range(0, 301, 25):
        rows = (~second | (crops.person < again)).to_numpy()
        some = crops[rows].assign(crop=np.arange(rows.sum()))
        labels = denoise(some, features[rows]).levels[-1].labels
        sizes = some.assign(label=labels).drop_duplicates("tracklet").groupby("label").size()
        links.append(int((sizes * (sizes - 1) // 2).sum()))
    assert links[0] < 10 and links[-1] > 200
    assert np.diff(links).max() < 75  # of 25 people more


@pytest.fixture(scope="module")
def footage(bench) -> ModuleType:
    """bench/footage.py, which draws regimes from the real tracklets."""
    if not SHARED.is_file():
        pytest.skip(f"no real tracklets at {SHARED.name}: they are not part of the project")
    return bench("footage")


@pytest.mark.parametrize(
    ("regime", "precision", "f1", "most_wrong"),
    [("all", 0.75, 0.70, 1), ("a tenth come again", 0.5, 0.55, 1), ("nobody comes twice", 0, 0, 0.5),
     ("cameras 1 and 2", 0.6, 0.58, 0.5), ("exchanged", 0.70, 0.62, 1)],
)  # fmt: skip
def test_real_people_are_linked_as_well_as_documented(
    footage: ModuleType, regime: str, precision: float, f1: float, most_wrong: float
) -> None:
    """As far as the numbers of docs/results.md, less what a draw may change."""
    drawn = footage.REGIMES[regime](footage.everybody(), 0)
    found = footage.scores(
        drawn, denoise(drawn.crops, drawn.features, Settings(min_crops=1)).levels[-1].labels
    )
    assert found["precision"] >= precision and found["f1"] >= f1 and found["wrong"] <= most_wrong
