"""Thresholds from the data: what they let through, and what they say of too little data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import single_video, tracklet, video_thresholds
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours.arrays import distances_to_others, unit


def crowd(
    seed: int = 0,
    videos: int = 4,
    people: int = 10,
    crops: int = 8,
    together: bool = True,
    strangers: float = 0.0,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Every person once in every video, all at once or one after another.

    Some crops show the next person instead.
    """
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(people, 16))
    video, person, frame = (
        g.ravel() for g in np.meshgrid(range(videos), range(people), range(crops), indexing="ij")
    )
    wrong = rng.random(len(person)) < strangers
    features = looks[(person + wrong) % people] + 0.3 * rng.normal(size=(len(person), 16))
    table = pd.DataFrame({
        "crop": np.arange(len(person)), "video": [f"v{v}" for v in video],
        "frame": frame if together else person * crops + frame, "tracklet": video * people + person,
    })  # fmt: skip
    return table, unit(features), wrong


def left_by(found: Calibration, crops: pd.DataFrame, features: np.ndarray) -> np.ndarray:
    """The tracklets that level 1 leaves at a radius."""
    videos = pd.factorize(crops.video)[0]
    return tracklet.remove_anomalous(features, crops.tracklet.to_numpy(), videos, found.threshold)[
        0
    ]


@pytest.mark.parametrize("together", [True, False])
def test_radius_drops_the_strangers_and_hardly_anyone_else(together: bool) -> None:
    crops, features, wrong = crowd(strangers=0.06, together=together)
    found = video_thresholds.find_radius(crops, features, 0.05)
    labels = left_by(found, crops, features)
    assert np.mean(labels[wrong] < 0) > 0.95 and np.mean(labels[~wrong] < 0) < 0.01
    assert found.positives == len(crops)
    # A tenth were put where they came from.
    assert found.negatives == pytest.approx(0.9 * len(crops), rel=0.1)


def test_radius_holds_in_tracklets_of_two() -> None:
    """Half of the mixed tracklets lose the stranger, the others the person: nothing tells which."""
    crops, features, wrong = crowd(crops=2, people=20, strangers=0.06)
    labels = left_by(video_thresholds.find_radius(crops, features, 0.05), crops, features)
    mixed = np.repeat(wrong[::2] != wrong[1::2], 2)
    assert ((labels < 0).reshape(-1, 2).sum(1)[mixed[::2]] == 1).mean() > 0.9 and np.mean(
        labels[~mixed] < 0
    ) < 0.02


def test_radius_of_clean_tracklets_drops_nearly_nothing() -> None:
    crops, features, _ = crowd()
    assert (
        np.mean(left_by(video_thresholds.find_radius(crops, features, 0.05), crops, features) < 0)
        < 0.01
    )


def test_radius_says_when_there_is_nobody_to_compare_with() -> None:
    crops, features, _ = crowd(videos=1, people=1, crops=40)
    found = video_thresholds.find_radius(crops, features, 0.05)
    assert found.negatives == 0 and "only 0 could be put elsewhere" in found.how
    away = distances_to_others(features, crops.tracklet.to_numpy())
    assert np.mean(away <= found.threshold) == pytest.approx(0.95, abs=0.03)
    alone = video_thresholds.find_radius(*crowd(crops=1)[:2], 0.05)
    assert alone.threshold == 1 and "nothing can be outside" in alone.how


def both(crops: pd.DataFrame, features: np.ndarray) -> list[Calibration]:
    tracklets = crops.tracklet.to_numpy()
    return [
        video_thresholds.find_radius(crops, features, 0.05),
        video_thresholds.find_separation(crops, features, tracklets),
    ]


def test_a_sample_is_whole_videos_whatever_the_order_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops, features, _ = crowd(videos=30)
    assert video_thresholds.sample_videos(crops).tolist() == list(range(len(crops)))
    everything = both(crops, features)
    monkeypatch.setattr(video_thresholds, "SAMPLE", 700)
    rows = video_thresholds.sample_videos(crops)
    # These are the first nine videos of 80 crops, which reach 700.
    assert crops.video[rows].value_counts().tolist() == [80] * 9
    order = np.random.default_rng(1).permutation(len(crops))
    assert set(order[video_thresholds.sample_videos(crops.iloc[order])]) == set(rows)
    some = both(crops, features)
    for of_all, of_some in zip(everything, some, strict=True):
        assert of_some.negatives == pytest.approx(0.3 * of_all.negatives, rel=0.1)
        assert of_some.threshold == pytest.approx(of_all.threshold, abs=0.1)


def broken(again: float, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """A crowd one after another, in which a share of the tracklets breaks in two."""
    crops, features, _ = crowd(seed, videos=8, people=24, together=False)
    cut = np.random.default_rng(seed).random(crops.tracklet.max() + 1) < again
    late = (crops.frame % 8 >= 4) & cut[crops.tracklet]
    return crops.assign(tracklet=2 * crops.tracklet + late), features


def test_separation_merges_fragments_and_not_strangers() -> None:
    crops, features = broken(1.0)
    labels = crops.tracklet.to_numpy()
    found = video_thresholds.find_separation(crops, features, labels)
    assert (
        found.threshold == pytest.approx(video_thresholds.LOOSE, abs=0.02)
        and "pairs per tracklet" in found.how
    )
    limit = Settings().fixed({"video": Thresholds(0.3, found.threshold)})
    merged = single_video.denoise_videos(crops, features, labels, limit).labels
    pairs = pd.DataFrame({"person": labels // 2, "identity": merged}).drop_duplicates()
    assert len(pairs) == pytest.approx(pairs.person.nunique(), rel=0.1)
    assert pairs.identity.nunique() == pytest.approx(len(pairs), rel=0.02)
    shares = [point["pairs"] for point in found.points]
    assert shares == sorted(shares)


def test_separation_gets_stricter_step_by_step_as_fewer_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looks are crowded, so chance brings people close: the threshold follows without a jump."""
    looks = np.random.default_rng(3).normal(size=(8, 60, 3))
    found = []
    for again in (0.0, 0.1, 0.2, 0.4, 1.0):
        rows, features = [], []
        for v in range(8):
            twice = np.arange(60) < again * 60
            for i in np.concatenate([np.arange(60), np.flatnonzero(twice)]).tolist():
                rows.append((f"v{v}", len(rows) * 10 % 997, len(rows)))
                features.append(
                    looks[v, i] + 0.02 * np.random.default_rng(len(rows)).normal(size=3)
                )
        crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet"])
        crops.insert(0, "crop", np.arange(len(crops)))
        found.append(
            video_thresholds.find_separation(
                crops, unit(np.array(features)), crops.tracklet.to_numpy()
            )
        )
    thresholds = [one.threshold for one in found]
    assert all(video_thresholds.STRICT <= t <= video_thresholds.LOOSE for t in thresholds)
    assert (
        thresholds[0] == pytest.approx(video_thresholds.STRICT, abs=0.05)
        and "chance may explain" in found[0].how
    )
    assert thresholds == sorted(thresholds)


def test_separation_of_too_few_is_strict_and_of_nothing_merges_nothing() -> None:
    crops, features, _ = crowd(videos=1, people=3, together=False)
    few = video_thresholds.find_separation(crops, features, crops.tracklet.to_numpy())
    assert few.threshold == video_thresholds.STRICT and "too few" in few.how
    for some in (crops.tracklet.to_numpy() == 0, np.zeros(len(crops), bool)):
        nothing = video_thresholds.find_separation(
            crops[some], features[some], crops.tracklet.to_numpy()[some]
        )
        assert "nothing to merge" in nothing.how and nothing.negatives == 0


def test_pairs_seen_together_are_left_out_if_they_are_asked() -> None:
    crops, features, _ = crowd()  # all at once
    labels = crops.tracklet.to_numpy()
    assert video_thresholds.find_separation(crops, features, labels).negatives == 0
    assert (
        video_thresholds.find_separation(crops, features, labels, cannot_link=False).negatives
        == 4 * 45
    )
