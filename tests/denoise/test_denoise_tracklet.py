"""Level 1 against the rule written out one tracklet and one sample at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import switches, tracklet
from cion_core.denoise.settings import Settings
from cion_core.neighbours.arrays import unit


def slow(features: np.ndarray, groups: np.ndarray, videos: np.ndarray, radius: float) -> np.ndarray:
    left = groups.copy()
    centre = {group: unit(features[groups == group].sum(0)[None])[0] for group in np.unique(groups)}
    home = {group: videos[groups == group][0] for group in centre}
    for group in centre:
        rows = [int(row) for row in np.flatnonzero(groups == group)]
        others = [centre[g] for g in centre if g != group and home[g] == home[group]]
        while len(rows) > 1:
            distances = [
                1 - float(features[r] @ unit(features[[q for q in rows if q != r]].sum(0)[None])[0])
                for r in rows
            ]
            if max(distances) <= radius:
                break
            tied = [k for k, d in enumerate(distances) if d >= max(distances) - 1e-5]
            rival = [
                max((float(features[rows[k]] @ c) for c in others), default=-1.0) for k in tied
            ]
            left[rows.pop(tied[int(np.argmax(rival))])] = -1
    return left


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, tracklets = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    groups = rng.integers(0, tracklets, n)
    return unit(rng.normal(size=(n, 4)) + 1), groups, groups % draw(st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(samples(), st.floats(0.01, 0.8))
def test_equals_one_at_a_time_and_ends_consistent(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], radius: float
) -> None:
    features, groups, videos = drawn
    left, _, distance = tracklet.remove_anomalous(features, groups, videos, radius)
    np.testing.assert_array_equal(left, slow(features, groups, videos, radius))
    np.testing.assert_array_equal(distance > radius, left < 0)
    # The last sample is left by itself: nobody vanishes whole.
    assert set(left[left >= 0]) == set(groups)


@settings(max_examples=60, deadline=None)
@given(samples(), st.floats(0.01, 0.8), st.integers(0, 10_000))
def test_groups_stay_whole_where_too_few_of_a_part_are_left(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], radius: float, seed: int
) -> None:
    features, groups, videos = drawn
    late = (
        np.arange(len(groups))
        >= np.random.default_rng(seed).integers(0, len(groups), groups.max() + 1)[groups]
    )
    cut = np.isin(groups, groups[late]) & np.isin(groups, groups[~late])
    parts = np.where(cut & late, groups + 100, groups)
    left, settled = slow(features, parts, videos, radius), parts.copy()
    for group in np.unique(groups[cut]):
        if min((left == group).sum(), (left == group + 100).sum()) < switches.SMALLEST_PART:
            settled[groups == group] = group
    found, first, last = tracklet.remove_anomalous(features, groups, videos, radius, parts)
    np.testing.assert_array_equal(found, slow(features, settled, videos, radius))
    np.testing.assert_array_equal(last > radius, found < 0)
    np.testing.assert_array_equal(
        first, tracklet.remove_anomalous(features, groups, videos, 2.0)[1]
    )


def test_removed_samples_and_distances_by_hand() -> None:
    # Three samples at 0°, 10°, 20° and one at 90°, 80° from the others' centroid; then 0° and 20°
    # are each 15° off.
    angles = np.deg2rad([0, 10, 20, 90])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    left, first, last = tracklet.remove_anomalous(
        features, np.zeros(4, int), np.zeros(4, int), 0.05
    )
    assert left.tolist() == [0, 0, 0, -1]
    assert first[3] == last[3] == pytest.approx(1 - np.cos(np.deg2rad(80)), abs=1e-5)
    assert (
        last[:3] == pytest.approx(1 - np.cos(np.deg2rad([15, 0, 15])), abs=1e-5)
        and first[0] > last[0]
    )


def test_of_two_that_differ_the_one_goes_that_somebody_else_in_the_video_is_like() -> None:
    angles = np.deg2rad([0, 90, 95, 95, 5])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    groups = np.array([0, 0, 1, 1, 2])
    for videos, gone in (([0, 0, 0, 0, 9], 1), ([0, 0, 9, 9, 0], 0), ([0, 0, 8, 8, 9], 0)):
        left, _, _ = tracklet.remove_anomalous(features, groups, np.array(videos), 0.3)
        assert np.flatnonzero(left < 0).tolist() == [gone]


def test_two_strangers_beside_each_other_are_no_switch() -> None:
    """They are removed, and the tracklet is not cut; beside a real switch one does no harm."""
    angles = np.deg2rad([0, 1, 2, 3, 90, 200, 0, 1, 2, 100, 101, 102, 0, 1])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = np.repeat([0, 7], [6, 8])
    parts = np.where(np.isin(np.arange(14), [4, 5, 9, 10, 11, 12, 13]), labels + 100, labels)
    found, _, _ = tracklet.remove_anomalous(features, labels, np.zeros(14, int), 0.3, parts)
    assert found.tolist() == [0, 0, 0, 0, -1, -1, 7, 7, 7, 107, 107, 107, -1, -1]


def test_too_few_left_drops_the_tracklet() -> None:
    angles = np.deg2rad([0, 1, 90, 45, 46, 47])  # of 90 degrees the others are 89.5 away
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    crops = pd.DataFrame(
        {"crop": range(6), "video": "v", "frame": range(6), "tracklet": [0, 0, 0, 5, 5, 5]}
    )
    level = tracklet.denoise_tracklets(
        crops, features, crops.tracklet.to_numpy(), Settings(radius={"tracklet": 0.05}, min_crops=3)
    )
    assert level.labels.tolist() == [-1, -1, -1, 5, 5, 5]
    assert level.ledger.action.tolist() == ["dropped"] * 3 + ["kept"] * 3
    assert level.ledger.rule.tolist() == ["min_crops", "min_crops", "radius"] + ["radius"] * 3
    assert level.ledger.limit.tolist() == [3, 3] + [0.05] * 4 and (level.ledger.other == -1).all()
    assert level.ledger.distance[2] > 0.05 >= level.ledger.distance[3]
    assert (level.before.outside, level.after.outside) == (3, 0)
    assert (
        level.ledger["from"].tolist() == [0, 0, 0, 5, 5, 5]
        and level.ledger["to"].tolist() == [-1] * 3 + [5] * 3
    )
