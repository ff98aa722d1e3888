"""Thresholds from the data: what they let through, and what they say where there is too little of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import calibration, cannot_link, tracklet
from cion_core.denoise.linking import space
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.rules import reciprocal
from cion_core.neighbours import search
from cion_core.neighbours.arrays import centroids, to_own, unit


def crowd(
    seed: int = 0, videos: int = 4, people: int = 10, crops: int = 8, together: bool = True, strangers: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Every person once in every video, all at once or one after another; some crops show the next person instead."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(people, 16))
    video, person, frame = (g.ravel() for g in np.meshgrid(range(videos), range(people), range(crops), indexing="ij"))
    wrong = rng.random(len(person)) < strangers
    features = looks[(person + wrong) % people] + 0.3 * rng.normal(size=(len(person), 16))
    table = pd.DataFrame({
        "crop": np.arange(len(person)), "video": [f"v{v}" for v in video],
        "frame": frame if together else person * crops + frame, "tracklet": video * people + person,
    })  # fmt: skip
    return table, unit(features), wrong


def test_radius_drops_the_strangers_and_hardly_anyone_else() -> None:
    crops, features, wrong = crowd(strangers=0.06)
    found = calibration.radius(crops, features, 0.05)
    labels, _ = tracklet.consistent(features, crops.tracklet.to_numpy(), found.threshold)
    assert np.mean(labels[wrong] < 0) > 0.95 and np.mean(labels[~wrong] < 0) < 0.01
    assert found.positives == len(crops) and found.negatives == 4 * 10 * 9 * 8


def test_radius_of_clean_tracklets_drops_nearly_nothing() -> None:
    crops, features, _ = crowd()
    found = calibration.radius(crops, features, 0.05)
    labels, _ = tracklet.consistent(features, crops.tracklet.to_numpy(), found.threshold)
    assert np.mean(labels < 0) < 0.01


def test_radius_says_when_nobody_is_seen_together() -> None:
    crops, features, _ = crowd(together=False)
    found = calibration.radius(crops, features, 0.05)
    assert found.negatives == 0 and "only 0 seen with others" in found.rule
    own = to_own(features, crops.tracklet.to_numpy(), centroids(features, crops.tracklet.to_numpy(), 40))
    assert np.mean(own <= found.threshold) == pytest.approx(0.95, abs=0.01)


def both(crops: pd.DataFrame, features: np.ndarray) -> list[Calibration]:
    tracklets = crops.tracklet.to_numpy()
    return [calibration.radius(crops, features, 0.05), calibration.separation(crops, features, tracklets, 0.05)]


def test_a_sample_is_whole_videos_whatever_the_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    crops, features, _ = crowd(videos=30)
    assert calibration.sample(crops).tolist() == list(range(len(crops)))
    everything = both(crops, features)
    monkeypatch.setattr(calibration, "SAMPLE", 700)
    rows = calibration.sample(crops)
    assert crops.video[rows].value_counts().tolist() == [80] * 9  # the first nine videos of 80 crops to reach 700
    order = np.random.default_rng(1).permutation(len(crops))
    assert set(order[calibration.sample(crops.iloc[order])]) == set(rows)
    some = both(crops, features)
    for of_all, of_some in zip(everything, some, strict=True):
        assert of_some.negatives == pytest.approx(0.3 * of_all.negatives)
        assert of_some.threshold == pytest.approx(of_all.threshold, abs=0.1)


def test_separation_merges_fragments_and_not_strangers() -> None:
    crops, features, _ = crowd(people=12)
    crops["tracklet"] = 2 * crops.tracklet + (crops.frame >= 4)  # every tracklet breaks in two
    found = calibration.separation(crops, features, crops.tracklet.to_numpy(), 0.05)
    centres = centroids(features, crops.tracklet.to_numpy(), 96)
    distance = 1 - centres @ centres.T
    fragments, strangers = distance[np.arange(0, 96, 2), np.arange(1, 96, 2)], distance[0, 2:24]
    assert np.mean(fragments < found.threshold) > 0.9 and not (strangers < found.threshold).any()
    shares = [point["positives"] for point in found.points]
    assert shares == sorted(shares) and found.points[-1]["negatives"] == 1.0


def test_separation_with_few_negatives_is_that_of_halves() -> None:
    crops, features, _ = crowd(videos=1, people=3, together=False)
    found = calibration.separation(crops, features, crops.tracklet.to_numpy(), 0.05)
    assert "only 0 pairs" in found.rule
    assert found.threshold == pytest.approx(
        np.median(calibration.halves(features, crops.tracklet.to_numpy(), crops.frame.to_numpy()))
    )


def test_separation_of_nothing_to_merge_is_zero() -> None:
    crops, features, _ = crowd(videos=2, people=1)
    assert calibration.separation(crops, features, crops.tracklet.to_numpy(), 0.05).threshold == 0
    assert calibration.separation(crops.iloc[:0], features[:0], np.empty(0, int), 0.05).threshold == 0


def test_halves_by_hand() -> None:
    angles = np.deg2rad([20, 0, 40, 60, 0, 0, 0])  # in time 0, 20 | 40, 60: halves at 10° and 50°
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found = calibration.halves(features, np.array([0, 0, 0, 0, 1, 1, 1]), np.array([1, 0, 2, 3, 0, 1, 2]))
    assert found == pytest.approx([1 - np.cos(np.deg2rad(40))], abs=1e-6)  # three crops have no halves


def linking(crops: pd.DataFrame, features: np.ndarray) -> Calibration:
    tracklets = crops.tracklet.to_numpy()
    videos = pd.factorize(crops.groupby("tracklet").video.first())[0]
    points = space.centred(centroids(features, tracklets, tracklets.max() + 1), videos)
    forbidden = cannot_link.between(crops, tracklets, cannot_link.crop_pairs(crops))
    return reciprocal.calibrated(points, search.neighbours(points), videos, forbidden)


def test_links_reach_far_among_clear_people_and_not_among_noise() -> None:
    crops, features, _ = crowd(videos=12)
    clear = linking(crops, features)
    assert clear.threshold == reciprocal.LIMITS[-1] and "are right" in clear.rule
    blurred = unit(np.random.default_rng(0).normal(size=features.shape))
    blurred = np.repeat(blurred[::8], 8, 0)  # each tracklet somebody of its own: nothing can be linked rightly
    assert linking(crops, blurred).threshold < clear.threshold


def test_links_without_negatives_rest_on_reciprocity_alone() -> None:
    found = linking(*crowd(together=False)[:2])
    assert found.threshold == reciprocal.ALONE and "reciprocity alone: only 0 pairs" in found.rule


def test_among_strangers_hardly_anyone_is_linked() -> None:
    """Every tracklet somebody of its own: whatever is linked is wrong, and the pairs seen together show it."""
    rng = np.random.default_rng(4)
    n = 300
    table = pd.DataFrame({
        "crop": np.arange(4 * n), "video": [f"v{i // 4 % 6}" for i in range(4 * n)],
        "frame": np.tile(np.arange(4), n), "tracklet": np.arange(4 * n) // 4,
    })  # fmt: skip
    features = np.repeat(rng.normal(size=(n, 16)), 4, 0) + 0.1 * rng.normal(size=(4 * n, 16))
    found = linking(table, unit(features))
    assert found.threshold == reciprocal.STRICT


def test_who_may_be_seen_together_is_not_asked_if_it_says_nothing() -> None:
    crops, features, _ = crowd()
    labels = crops.tracklet.to_numpy()
    assert calibration.radius(crops, features, 0.05, cannot=False).negatives == 0
    assert calibration.separation(crops, features, labels, 0.05, cannot=False).negatives == 0
    assert calibration.separation(crops, features, labels, 0.05).negatives > 0
