"""Level 2 against the rule written out, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import cannot_link, single_video
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours.arrays import unit


def ring(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def apart(degrees: float) -> float:
    return float(1 - np.cos(np.deg2rad(degrees)))


def at(radius: float, separation: float, **others: object) -> Settings:
    return Settings(**others).fixed({"video": Thresholds(radius, separation)})


def table(tracklets: list[int], frames: list[int] | None = None, videos: list[str] | None = None) -> pd.DataFrame:
    n = len(tracklets)
    frames = list(range(n)) if frames is None else frames
    return pd.DataFrame({"crop": range(n), "video": videos or "v", "frame": frames, "tracklet": tracklets})


def slow_merge(features: np.ndarray, labels: np.ndarray, separation: float, forbidden: np.ndarray) -> np.ndarray:
    names = [int(name) for name in np.unique(labels[labels >= 0])]
    sets, never = {name: {name} for name in names}, {(names[i], names[j]) for i, j in np.argwhere(forbidden)}
    labels = labels.copy()
    while True:
        centre = {name: unit(features[labels == name].sum(0)[None])[0] for name in sets}
        open_ = [
            (1 - float(centre[a] @ centre[b]), a, b)
            for a in sets for b in sets
            if a < b and not any((x, y) in never for x in sets[a] for y in sets[b])
        ]  # fmt: skip
        if not open_ or min(open_)[0] >= separation:
            return labels
        _, a, b = min(open_)
        sets[a] |= sets.pop(b)
        labels[labels == b] = a


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.floats(0.05, 1.2), st.booleans())
def test_merging_equals_the_rule(seed: int, identities: int, separation: float, constrained: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.arange(identities), rng.integers(-1, identities, 20)])) * 3
    labels[labels < 0] = -1
    features = unit(rng.normal(size=(len(labels), 3)))
    never = np.triu(rng.random((identities, identities)) < 0.2, 1) & constrained
    never |= never.T
    merged, merges = single_video.merge(features, labels, separation, never)
    np.testing.assert_array_equal(merged, slow_merge(features, labels, separation, never))
    assert len(merges) == identities - len(np.unique(merged[merged >= 0]))


def test_merging_by_hand_recomputes_centroids() -> None:
    # 0 and 10 merge first (centroid 5), then 22 is 17 away, and not the 12 that it was from 10
    features, labels, free = ring(0, 10, 22), np.array([4, 6, 8]), np.zeros((3, 3), bool)
    merged, merges = single_video.merge(features, labels, apart(15), free)
    assert merged.tolist() == [4, 4, 8]
    assert [m[:2] for m in merges] == [(4, 6)] and merges[0][2] == pytest.approx(apart(10), abs=1e-6)
    assert single_video.merge(features, labels, apart(18), free)[0].tolist() == [4, 4, 4]


def test_a_switched_tracklet_is_repaired() -> None:
    # Tracklets 0 (person at 0°) and 1 (person at 90°) were seen together; 0's last crop shows the person at 90°.
    features = ring(0, 2, 90, 88, 90, 92)
    crops = table([0, 0, 0, 1, 1, 1], frames=[1, 2, 3, 1, 2, 4])
    level = single_video.denoise(crops, features, np.array([0, 0, -1, 1, 1, 1]), at(apart(10), apart(5)))
    assert level.labels.tolist() == [0, 0, 1, 1, 1, 1]
    row = level.ledger.iloc[2]
    assert (row.action, row["from"], row.to, row.other, row.rule) == ("moved", -1, 1, 1, "radius")
    assert row.distance <= row.limit == apart(10)


def test_a_crop_between_two_identities_goes_to_neither() -> None:
    none = np.empty((0, 2), np.int64)
    labels = np.array([5, 9, -1, -1])
    features = ring(0, 60, 28, 20)  # 28 degrees from 5 and 32 from 9: undecided; 20 and 40: clear
    out, distance = single_video.offer(features, labels, 0.2, none, set())
    assert out.tolist() == [5, 9, -1, 5]
    assert distance[3] == pytest.approx(1 - np.cos(np.deg2rad(20)), abs=1e-6) and np.isnan(distance[2])
    out, _ = single_video.offer(features[[0, 2]], labels[[0, 2]], 0.2, none, set())  # nobody else is there
    assert out.tolist() == [5, 5]
    out, _ = single_video.offer(features, labels, 0.2, none, {(3, 5)})
    assert out.tolist() == labels.tolist()


def test_a_crop_does_not_move_to_someone_seen_beside_it() -> None:
    features = ring(0, 2, 90, 88, 90, 92)
    crops = table([0, 0, 0, 1, 1, 1], frames=[1, 2, 3, 1, 2, 3])  # crops 2 and 5 share frame 3
    labels = np.array([0, 0, -1, 1, 1, 1])
    level = single_video.denoise(crops, features, labels, at(apart(10), apart(5)))
    assert level.labels.tolist() == labels.tolist() and level.ledger.action[2] == "dropped"
    row = level.ledger.iloc[2]
    assert (row.rule, row.other, row.limit) == ("no_home", -1, apart(10)) and np.isnan(row.distance)
    free = single_video.denoise(crops, features, labels, at(apart(10), apart(5), cannot_link=False))
    assert free.labels[2] == 1


def test_videos_do_not_mix_and_the_ledger_tells_of_merges() -> None:
    features = ring(0, 1, 2, 3, 0, 1)
    crops = table([5, 5, 7, 7, 9, 9], videos=["a"] * 4 + ["b"] * 2)
    level = single_video.denoise(crops, features, crops.tracklet.to_numpy(), at(apart(20), apart(10)))
    assert level.labels.tolist() == [5, 5, 5, 5, 9, 9]
    assert level.ledger.action.tolist() == ["merged"] * 4 + ["kept"] * 2
    assert level.ledger.other.tolist() == [7, 7, 5, 5, -1, -1]
    assert level.ledger.rule.tolist() == ["separation"] * 4 + ["radius"] * 2
    assert level.ledger.limit.tolist() == [apart(10)] * 4 + [apart(20)] * 2
    assert level.ledger.distance[0] == pytest.approx(apart(2), abs=1e-6)
    assert (level.before.close_pairs, level.after.close_pairs) == (1, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_ends_consistent_and_never_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    tracklets, frames = rng.integers(0, 6, n), rng.integers(0, 12, n)
    crops = table(tracklets.tolist(), frames.tolist()).drop_duplicates(["frame", "tracklet"], ignore_index=True)
    crops["crop"] = range(len(crops))
    features = unit(rng.normal(size=(len(crops), 3)) + 0.7)
    labels = np.where(rng.random(len(crops)) < 0.3, -1, crops.tracklet)
    limit = Thresholds(float(rng.uniform(0.02, 0.5)), float(rng.uniform(0.02, 0.5)))
    level = single_video.denoise(crops, features, labels, Settings().fixed({"video": limit}))
    assert level.after.outside == 0 or level.after.largest_radius <= limit.radius + 1e-6
    i, j = cannot_link.crop_pairs(crops).T
    i, j = i[level.labels[i] >= 0], j[level.labels[i] >= 0]
    assert (level.labels[i] != level.labels[j]).all()
    assert (level.ledger.action == "dropped").to_numpy().tolist() == (level.labels < 0).tolist()
