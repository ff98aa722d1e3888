"""Noise, centroids and cannot-links against counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import cannot_link, noise
from cion_core.denoise.noise import Noise


def ring(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_measure_by_hand() -> None:
    features = ring(0, 20, 30, 50, 180)
    labels = np.array([7, 7, 3, 3, -1])
    # centroids at 10° and 40°; every sample 10° off; centroids 30° apart
    measured = noise.measure(features, labels, Noise(radius=1 - np.cos(np.deg2rad(9)), separation=0.2))
    assert (measured.crops, measured.identities, measured.outside, measured.close_pairs) == (4, 2, 4, 1)
    assert measured.largest_radius == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=1e-6)
    measured = noise.measure(features, labels, Noise(radius=0.1, separation=0.1))
    assert (measured.outside, measured.close_pairs) == (0, 0)


def test_measure_skips_the_forbidden_and_a_tally_compares_within_its_pieces() -> None:
    features, labels = ring(0, 1, 2), np.array([0, 1, 2])
    limit = Noise(separation=0.5)
    assert noise.measure(features, labels, limit).close_pairs == 3
    crops = pd.DataFrame({"crop": [0, 1, 2], "video": "v", "frame": [4, 4, 5], "tracklet": [0, 1, 2]})
    forbidden = cannot_link.between(crops, labels, cannot_link.crop_pairs(crops))
    assert noise.measure(features, labels, limit, forbidden=forbidden).close_pairs == 2
    tally = noise.Tally(limit)
    for piece in (slice(2), slice(2, 3)):
        tally.add(features[piece], labels[piece], None)
    assert (tally.measured().close_pairs, tally.measured().identities) == (1, 3)


def test_no_labels_is_no_noise() -> None:
    measured = noise.measure(ring(0, 1), np.array([-1, -1]), Noise(0.1, 0.1))
    assert (measured.crops, measured.identities) == (0, 0)


def test_centroid_of_opposites_and_of_nobody_is_zero() -> None:
    centres = noise.centroids(np.float32([[1, 0], [-1, 0], [0, 2]]), np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(centres, [[0, 0], [0, 0], [0, 1]])


def test_close_pairs_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "BLOCK", 3)
    points = noise.unit(np.random.default_rng(0).normal(size=(11, 3)))
    found = {(int(i), int(j)) for a, b, _ in noise.close_pairs(points, 0.6) for i, j in zip(a, b, strict=True)}
    expected = {(i, j) for i in range(11) for j in range(i + 1, 11) if 1 - points[i] @ points[j] < 0.6}
    assert found == expected and expected


def test_cannot_links_by_hand() -> None:
    crops = pd.DataFrame({
        "crop": range(6), "video": ["a", "a", "a", "b", "a", "a"], "frame": [1, 1, 1, 1, 2, 1],
        "tracklet": [0, 1, 1, 2, 3, 4],
        "x1": [0, 50, 51, 0, 0, 0.5], "y1": 0, "x2": [10, 60, 61, 10, 10, 10.5], "y2": 20,
    })  # fmt: skip
    # 0 and 5 overlap by 9.5/10.5: one detection twice; 1 and 2 are one tracklet; 3 is another video, 4 another frame
    pairs = {tuple(sorted(pair)) for pair in cannot_link.crop_pairs(crops).tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 5), (2, 5)}
    without_boxes = cannot_link.crop_pairs(crops[["crop", "video", "frame", "tracklet"]])
    assert {tuple(sorted(pair)) for pair in without_boxes.tolist()} == pairs | {(0, 5)}


def test_tracklets_once_together_stay_apart_but_a_moved_crop_speaks_for_itself() -> None:
    crops = pd.DataFrame({
        "crop": range(6), "video": "a", "frame": [1, 2, 3, 1, 2, 3], "tracklet": [0, 0, 0, 1, 1, 1],
    })  # fmt: skip
    pairs = cannot_link.crop_pairs(crops)
    apart = cannot_link.between(crops, np.array([0, -1, -1, -1, -1, 1]), pairs)  # no two crops share a frame now
    assert apart.toarray().tolist() == [[False, True], [True, False]]
    # the last crop of 1 was moved into 0, whose own crop there was dropped: fine, and the homes still exclude
    apart = cannot_link.between(crops, np.array([0, 0, -1, 1, 1, 0]), pairs)
    assert apart.toarray().tolist() == [[False, True], [True, False]]


def test_blocks_hold_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "BLOCK", 4)
    groups = np.array([2, 0, -1, 2, 5, 0, 2, 2, 2, 5])
    assert [rows.tolist() for rows in noise.whole(groups)] == [[1, 5, 0, 3, 6, 7, 8], [4, 9]]
    assert noise.whole(np.array([-1, -1])) == [] == noise.whole(np.empty(0, int))
    assert noise.starts(groups[noise.whole(groups)[0]]).tolist() == [0, 2]


def test_sums_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "BLOCK", 7)
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(-1, 9, 60)
    expected = [features[groups == group].sum(0) for group in range(10)]
    np.testing.assert_allclose(noise.sums(features, groups, 10), expected, atol=1e-5)
