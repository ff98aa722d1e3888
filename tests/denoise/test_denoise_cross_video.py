"""Level 3: reciprocal links on people who can be told apart, the range, and who stays apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import cannot_link, cross_video
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.sequence import split_by_tracklet
from cion_core.denoise.settings import Settings
from cion_core.neighbours.arrays import unit


def slow_homes(tracklets: list[int], labels: list[int]) -> dict[int, int]:
    """The identity of most of each tracklet's crops."""
    out = {}
    for tracklet in set(tracklets):
        votes = Counter(
            of for at, of in zip(tracklets, labels, strict=True) if at == tracklet and of >= 0
        )
        out[tracklet] = min(votes, key=lambda label: (-votes[label], label)) if votes else -1
    return out


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
    level = cross_video.link_videos(
        crops, features, crops.tracklet.to_numpy(), Settings(range=size)
    )
    assert partition(level.labels) == partition(person)
    assert (level.labels == pd.Series(crops.tracklet).groupby(person).transform("min")).all()
    assert level.after.close_pairs == 0 < level.before.close_pairs
    assert (
        set(level.ledger.action) == {"linked"} and level.calibration["separation"].positives > 100
    )


def test_a_range_beyond_the_sequence_is_exact() -> None:
    crops, features, _ = world(1, spread=1.2)
    tracklets = crops.tracklet.to_numpy()
    delta = {"cross_video": 0.7}
    whole = cross_video.link_videos(
        crops, features, tracklets, Settings(separation=delta, range="all")
    )
    wide = cross_video.link_videos(
        crops, features, tracklets, Settings(separation=delta, range=500)
    )
    np.testing.assert_array_equal(wide.labels, whole.labels)


@pytest.mark.parametrize("linking", RULES.names())
def test_people_seen_together_stay_apart_however_alike(linking: str) -> None:
    crops, features, _ = world(2, spread=4.0)
    settings = Settings(separation={"cross_video": 0.95}, linking=linking)
    level = cross_video.link_videos(crops, features, crops.tracklet.to_numpy(), settings)
    together = pd.DataFrame({"video": crops.video, "frame": crops.frame, "label": level.labels})
    assert not together.duplicated().any()
    assert (level.labels >= 0).all()


def test_crops_without_an_identity_stay_so_and_out_of_the_ledger() -> None:
    crops, features, _ = world(0)
    labels = np.where(np.arange(len(crops)) % 3 == 2, -1, crops.tracklet)
    level = cross_video.link_videos(crops, features, labels, Settings())
    assert ((level.labels < 0) == (labels < 0)).all()
    assert level.ledger.crop.tolist() == np.flatnonzero(labels >= 0).tolist()


def test_the_ledger_holds_what_decided() -> None:
    crops, features, _ = world(0, people=8)
    labels = crops.tracklet.to_numpy()
    features[labels == 3] = -features[labels == 3]  # like nobody
    level = cross_video.link_videos(
        crops, features, labels, Settings(separation={"cross_video": 0.7})
    )
    told = level.ledger
    assert set(told.rule) == {"reciprocal"} == {level.links.rule} and (told.limit == 0.7).all()
    linked = told.action == "linked"
    assert (told.distance[linked] <= 0.7).all() and (
        told.to[linked] == told.to[linked].map(int)
    ).all()
    identity = pd.Series(level.links.identity, level.links.video_identity)
    # Whoever a crop was linked with has its identity.
    assert (identity[told.other[linked]].to_numpy() == told.to[linked]).all()
    assert (told["from"][linked] != told.other[linked]).all()
    kept = told[~linked]
    assert (
        len(kept)
        and (kept.other == -1).all()
        and kept.distance.isna().all()
        and (kept["from"] == kept.to).all()
    )


def slow_parts(tracklets: list[int], labels: list[int]) -> list[tuple[int, int] | None]:
    """Crop by crop: its identity, and the tracklet of it that it goes with (-1: of none)."""
    home = slow_homes(tracklets, labels)
    size = Counter(
        (label, of) for label, of in zip(labels, tracklets, strict=True) if label == home[of]
    )

    def part(label: int, of: int) -> tuple[int, int] | None:
        if label < 0 or label == home[of]:
            return (label, of) if label >= 0 else None
        there = [tracklet for tracklet, name in home.items() if name == label]
        return label, min(
            there, key=lambda tracklet: (-size[label, tracklet], tracklet)
        ) if there else -1

    return [part(label, of) for label, of in zip(labels, tracklets, strict=True)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 4)), max_size=30))
def test_parts_equal_looking_at_every_crop(rows: list[tuple[int, int]]) -> None:
    tracklets, labels = ([row[side] for row in rows] for side in (0, 1))
    number, names = split_by_tracklet(np.array(tracklets, int), np.array(labels, int))
    expected = slow_parts(tracklets, labels)
    every = sorted(set(expected) - {None})
    assert number.tolist() == [every.index(part) if part else -1 for part in expected]
    assert names.tolist() == [label for label, _ in every]


def test_who_comes_again_is_found_by_one_sight_of_two() -> None:
    """In v0 a person is seen from the front and from behind, in v1 from behind.

    That is 45 degrees from the mean of both.
    """
    front, back, other = np.eye(3)
    crops = pd.DataFrame(
        {
            "crop": range(8),
            "video": ["v0"] * 4 + ["v1"] * 4,
            "frame": [0, 1, 5, 6, 0, 1, 0, 1],
            "tracklet": np.repeat([0, 1, 2, 3], 2),
        }
    )
    features = np.repeat(np.float32([front, back, back, other]), 2, 0)
    labels = np.array([0, 0, 0, 0, 2, 2, 3, 3])
    settings = Settings(linking="published", separation={"cross_video": 0.1})
    level = cross_video.link_videos(crops, features, labels, settings)
    assert level.labels.tolist() == [0, 0, 0, 0, 0, 0, 3, 3]
    assert level.links.video_identity.tolist() == [
        0,
        0,
        2,
        3,
    ] and level.links.identity.tolist() == [
        0,
        0,
        0,
        3,
    ]
    assert level.before.identities == 3 and level.after.identities == 2
    told = level.ledger
    assert told.action.tolist() == ["linked"] * 6 + ["kept"] * 2 and told.other.tolist() == [
        2
    ] * 4 + [0, 0, -1, -1]
    whole = features.copy()
    whole[:4] = unit((front + back)[None])  # as one centroid
    assert len(set(cross_video.link_videos(crops, whole, labels, settings).labels)) == 3


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(RULES.names()),
    st.sampled_from(["all", 20]),
    st.floats(0.05, 0.9),
)
def test_what_level_2_has_put_together_stays_and_fares_alike(
    seed: int, linking: str, size: int | str, separation: float
) -> None:
    """Level 2 takes people two by two, and has moved some of their crops and lost others."""
    crops, features, person = world(seed, people=9, videos=4)
    crops["frame"] += 5 * person  # nobody is seen together, but for some crops
    rng = np.random.default_rng(seed)
    crops.loc[rng.random(len(crops)) < 0.2, "frame"] = 0
    labels = (crops.tracklet - (crops.tracklet % 9) % 2).to_numpy()
    labels = np.where(
        rng.random(len(crops)) < 0.1, labels // 9 * 9 + 2 * rng.integers(0, 4, len(crops)), labels
    )
    labels[rng.random(len(crops)) < 0.1] = -1
    settings = Settings(linking=linking, range=size, separation={"cross_video": separation})
    level = cross_video.link_videos(crops, features, labels, settings)
    told = level.ledger.groupby("from")[["action", "other", "distance", "to"]].nunique(dropna=False)
    assert (told == 1).all(axis=None) and set(told.index) == set(labels[labels >= 0])
    links = level.links
    assert (pd.Series(links.identity).groupby(links.video_identity).nunique() == 1).all()
    i, j = links.forbidden.nonzero()
    assert (links.video_identity[i] != links.video_identity[j]).all() and (
        links.identity[i] != links.identity[j]
    ).all()
    # Names must stay apart if crops of theirs must.
    never = cannot_link.forbidden_pairs(crops, labels, cannot_link.crop_pairs(crops))
    names = np.unique(labels[labels >= 0])
    assert set(zip(links.video_identity[i], links.video_identity[j], strict=True)) == set(
        zip(*names[list(never.nonzero())], strict=True)
    )
    assert len(links.video_identity) > len(names)


def test_unknown_linking_names_the_valid_ones() -> None:
    with pytest.raises(
        ValueError,
        match=r"denoise\.linking: unknown linking rule 'nearest'; valid are published, reciprocal",
    ):
        Settings(linking="nearest")
