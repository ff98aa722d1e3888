"""Level 2 against the rule written out, and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import cannot_link, merging, single_video
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours.arrays import unit


def ring(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def apart(degrees: float) -> float:
    return float(1 - np.cos(np.deg2rad(degrees)))


def at(radius: float, separation: float, **others: object) -> Settings:
    return Settings(**others).fixed({"video": Thresholds(radius, separation)})


def table(
    tracklets: list[int], frames: list[int] | None = None, videos: list[str] | None = None
) -> pd.DataFrame:
    n = len(tracklets)
    frames = list(range(n)) if frames is None else frames
    return pd.DataFrame(
        {"crop": range(n), "video": videos or "v", "frame": frames, "tracklet": tracklets}
    )


def slow_merge(
    distance: np.ndarray, crops: np.ndarray, separation: float, forbidden: np.ndarray
) -> list[set[int]]:
    sets = [{i} for i in range(len(distance))]
    while True:
        open_ = []
        for a, b in combinations(range(len(sets)), 2):
            cells = [(i, j) for i in sets[a] for j in sets[b]]
            if not any(forbidden[cell] for cell in cells):
                weights = [float(crops[i] * crops[j]) for i, j in cells]
                open_.append(
                    (np.average([float(distance[cell]) for cell in cells], weights=weights), a, b)
                )
        if not open_ or min(open_)[0] >= separation:
            return sets
        _, a, b = min(open_)
        sets[a] |= sets[b]
        del sets[b]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(0.05, 1.2), st.booleans())
def test_merging_equals_the_rule(seed: int, n: int, separation: float, constrained: bool) -> None:
    rng = np.random.default_rng(seed)
    distance = rng.random((n, n)) * 1.5
    distance, crops = distance + distance.T, rng.integers(1, 9, n)
    never = np.triu(rng.random((n, n)) < 0.2, 1) & constrained
    never |= never.T
    target, merges = merging.merge(distance, crops, separation, never)
    expected = slow_merge(distance, crops, separation, never)
    assert {frozenset(np.flatnonzero(target == i).tolist()) for i in target} == {
        frozenset(s) for s in expected
    }
    assert all(target[i] == min(s) for s in expected for i in s) and len(merges) == n - len(
        expected
    )


def test_merging_by_hand_takes_the_mean_over_crops() -> None:
    # 0 and 1 merge first; the mean distance to 2 is then (3 * 0.5 + 1 * 0.9) / 4 = 0.6
    distance = np.array([[9, 0.2, 0.5], [0.2, 9, 0.9], [0.5, 0.9, 9]])
    crops, free = np.array([3, 1, 5]), np.zeros((3, 3), bool)
    for separation, ends in ((0.59, [0, 0, 2]), (0.61, [0, 0, 0])):
        target, merges = merging.merge(distance, crops, separation, free)
        assert target.tolist() == ends and merges[0] == (0, 1, pytest.approx(0.2))
    assert merges[1] == (0, 2, pytest.approx(0.6))


def test_a_switched_tracklet_is_repaired() -> None:
    # Tracklets 0 (person at 0°) and 1 (person at 90°) were seen together; 0's last crop shows the
    # person at 90°.
    features = ring(0, 2, 90, 88, 90, 92)
    crops = table([0, 0, 0, 1, 1, 1], frames=[1, 2, 3, 1, 2, 4])
    level = single_video.denoise_videos(
        crops, features, np.array([0, 0, -1, 1, 1, 1]), at(apart(10), apart(5))
    )
    assert level.labels.tolist() == [0, 0, 1, 1, 1, 1]
    row = level.ledger.iloc[2]
    assert (row.action, row["from"], row.to, row.other, row.rule) == ("moved", -1, 1, 1, "radius")
    assert row.distance <= row.limit == apart(10)


def test_a_crop_between_two_identities_goes_to_neither() -> None:
    none = np.empty((0, 2), np.int64)
    labels = np.array([5, 9, -1, -1])
    features = ring(0, 60, 28, 20)  # 28 degrees from 5 and 32 from 9: undecided; 20 and 40: clear
    out, distance = merging.find_homes(features, labels, 0.2, none)
    assert out.tolist() == [5, 9, -1, 5]
    assert distance[3] == pytest.approx(1 - np.cos(np.deg2rad(20)), abs=1e-6) and np.isnan(
        distance[2]
    )
    out, _ = merging.find_homes(features[[0, 2]], labels[[0, 2]], 0.2, none)  # nobody else is there
    assert out.tolist() == [5, 5]


def test_a_crop_does_not_move_to_someone_seen_beside_it() -> None:
    features = ring(0, 2, 90, 88, 90, 92)
    crops = table([0, 0, 0, 1, 1, 1], frames=[1, 2, 3, 1, 2, 3])  # crops 2 and 5 share frame 3
    labels = np.array([0, 0, -1, 1, 1, 1])
    level = single_video.denoise_videos(crops, features, labels, at(apart(10), apart(5)))
    assert level.labels.tolist() == labels.tolist() and level.ledger.action[2] == "dropped"
    row = level.ledger.iloc[2]
    assert (row.rule, row.other, row.limit) == ("no_home", -1, apart(10)) and np.isnan(row.distance)
    free = single_video.denoise_videos(
        crops, features, labels, at(apart(10), apart(5), cannot_link=False)
    )
    assert free.labels[2] == 1


def people(looks: int, crops: int, seed: int = 0) -> np.ndarray:
    """Unit features of some people who have nothing in common, each several times."""
    rng = np.random.default_rng(seed)
    return unit(
        np.repeat(rng.normal(size=(looks, 32)), crops, 0)
        + 0.2 * rng.normal(size=(looks * crops, 32))
    )


def test_videos_do_not_mix_and_the_ledger_tells_of_merges() -> None:
    # The first person thrice.
    features = np.concatenate([people(6, 2), people(6, 2)[:2], people(6, 2)[:2]])
    crops = table(np.repeat(np.arange(5, 13), 2).tolist(), videos=["a"] * 14 + ["b"] * 2)
    level = single_video.denoise_videos(
        crops, features, crops.tracklet.to_numpy(), at(apart(40), 0.6)
    )
    assert level.labels.tolist() == [5, 5, *np.repeat(np.arange(6, 11), 2), 5, 5, 12, 12]
    assert (
        level.ledger.action.tolist()
        == ["merged"] * 2 + ["kept"] * 10 + ["merged"] * 2 + ["kept"] * 2
    )
    assert level.ledger.other.tolist() == [11, 11, *[-1] * 10, 5, 5, -1, -1]
    assert level.ledger.rule[[0, 2]].tolist() == ["separation", "radius"]
    assert level.ledger.limit[[0, 2]].tolist() == [0.6, apart(40)]
    assert 0 <= level.ledger.distance[0] < 0.6
    assert (level.before.close_pairs, level.after.close_pairs) == (1, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_people_seen_together_stay_apart_and_the_ledger_says_who_was_dropped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    tracklets, frames = rng.integers(0, 9, n), rng.integers(0, 30, n)
    crops = table(tracklets.tolist(), frames.tolist()).drop_duplicates(
        ["frame", "tracklet"], ignore_index=True
    )
    crops["crop"] = range(len(crops))
    features = unit(rng.normal(size=(len(crops), 3)) + 0.7)
    labels = np.where(rng.random(len(crops)) < 0.3, -1, crops.tracklet)
    limit = Thresholds(float(rng.uniform(0.02, 0.5)), float(rng.uniform(0.4, 1.2)))
    level = single_video.denoise_videos(crops, features, labels, Settings().fixed({"video": limit}))
    i, j = cannot_link.crop_pairs(crops).T
    i, j = i[level.labels[i] >= 0], j[level.labels[i] >= 0]
    assert (level.labels[i] != level.labels[j]).all()
    assert (level.ledger.action == "dropped").to_numpy().tolist() == (level.labels < 0).tolist()
    assert (level.labels[labels >= 0] >= 0).all()  # nobody who had an identity is dropped
    moved = level.ledger[level.ledger.action == "moved"]
    assert (moved["from"] == -1).all() and (moved.distance <= limit.radius).all()


def test_a_new_video_is_denoised_as_it_was_among_the_others() -> None:
    features = np.concatenate([people(6, 4, 1), people(6, 4, 2)])
    crops = table(np.repeat(np.arange(24), 2).tolist(), videos=["a"] * 24 + ["b"] * 24)
    labels, limit = np.where(np.arange(48) % 7 == 0, -1, crops.tracklet), at(0.4, 0.6)
    whole = single_video.denoise_videos(crops, features, labels, limit)
    for part in (slice(24), slice(24, 48)):
        alone = single_video.denoise_videos(
            crops[part].reset_index(drop=True), features[part], labels[part], limit
        )
        np.testing.assert_array_equal(alone.labels, whole.labels[part])
    assert len(np.unique(whole.labels)) == 12
