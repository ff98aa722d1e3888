"""Level 1 against the rule written out one tracklet and one sample at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import tracklet
from cion_core.denoise.settings import Settings
from cion_core.neighbours.arrays import unit


def slow(features: np.ndarray, groups: np.ndarray, radius: float) -> np.ndarray:
    left = groups.copy()
    for group in np.unique(groups):
        rows = [int(row) for row in np.flatnonzero(groups == group)]
        while rows:
            centre = features[rows].sum(0)
            centre = centre / max(np.linalg.norm(centre), 1e-12)
            distances = [1 - float(features[row] @ centre) for row in rows]
            if max(distances) <= radius:
                break
            left[rows.pop(next(k for k, d in enumerate(distances) if d >= max(distances) - 1e-6))] = -1
    return left


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, tracklets = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    return unit(rng.normal(size=(n, 4)) + 1), rng.integers(0, tracklets, n)


@settings(max_examples=60, deadline=None)
@given(samples(), st.floats(0.01, 0.8))
def test_equals_one_at_a_time_and_ends_consistent(drawn: tuple[np.ndarray, np.ndarray], radius: float) -> None:
    features, groups = drawn
    left, _ = tracklet.consistent(features, groups, radius)
    np.testing.assert_array_equal(left, slow(features, groups, radius))
    for group in np.unique(left[left >= 0]):
        own = features[left == group]
        assert (1 - own @ unit(own.sum(0)[None])[0]).max() <= radius + 1e-6
    assert set(left[left >= 0]) == set(groups)  # the last sample is its own centroid: nobody vanishes whole


def test_by_hand() -> None:
    # Three samples at 0°, 10°, 20° and one at 90°: its centroid lies at 24.4° before, at 10° after it has gone.
    angles = np.deg2rad([0, 10, 20, 90])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    left, distance = tracklet.consistent(features, np.zeros(4, int), 0.05)
    assert left.tolist() == [0, 0, 0, -1]
    total = features.sum(0)
    assert distance[3] == pytest.approx(1 - features[3] @ total / np.linalg.norm(total), abs=1e-6)
    assert distance[0] == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=1e-6)


def test_too_few_left_drops_the_tracklet() -> None:
    angles = np.deg2rad([0, 1, 90, 45, 46, 47])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    crops = pd.DataFrame({"crop": range(6), "video": "v", "frame": range(6), "tracklet": [0, 0, 0, 5, 5, 5]})
    level = tracklet.denoise(
        crops, features, crops.tracklet.to_numpy(), Settings(radius={"tracklet": 0.05}, min_crops=3)
    )
    assert level.labels.tolist() == [-1, -1, -1, 5, 5, 5]
    assert level.ledger.action.tolist() == ["dropped"] * 3 + ["kept"] * 3
    assert level.ledger.rule.tolist() == ["min_crops", "min_crops", "radius"] + ["radius"] * 3
    assert level.ledger.limit.tolist() == [3, 3] + [0.05] * 4 and (level.ledger.other == -1).all()
    assert level.ledger.distance[2] > 0.05 >= level.ledger.distance[3]
    assert (level.before.outside, level.after.outside) == (3, 0)
    assert level.ledger["from"].tolist() == [0, 0, 0, 5, 5, 5] and level.ledger["to"].tolist() == [-1] * 3 + [5] * 3
