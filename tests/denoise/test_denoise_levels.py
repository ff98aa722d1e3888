"""Levels 1 and 2 on features read where they lie, block by block, against all of them in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import cannot_link, contrast, single_video, tracklet
from cion_core.denoise.checks import checked
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows

SETTINGS = Settings(min_crops=3).fixed(
    {"tracklet": Thresholds(0.25), "video": Thresholds(0.25, 0.6)}
)


def crowd(seed: int = 0, n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Crops in any order of 40 tracklets in 7 videos, with features of any length."""
    rng = np.random.default_rng(seed)
    of = rng.integers(40, size=n)
    looks = rng.normal(size=(40, 8))[rng.integers(40, size=40)]
    table = pd.DataFrame(
        {
            "crop": rng.permutation(n),
            "video": [f"v{t % 7}" for t in of],
            "frame": rng.integers(200, size=n),
            "tracklet": of,
            "shard": "unused",
        }
    )
    return table, (looks[of] + 0.5 * rng.normal(size=(n, 8))) * rng.uniform(0.1, 9, (n, 1))


def test_levels_do_not_care_where_features_lie_nor_how_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, rows = checked(*crowd())
    results = []
    for block, features in ((arrays.BLOCK, rows[:]), (arrays.BLOCK, rows), (16, rows)):
        monkeypatch.setattr(arrays, "BLOCK", block)
        one = tracklet.denoise_tracklets(table, features, table.tracklet.to_numpy(), SETTINGS)
        two = single_video.denoise_videos(table, features, one.labels, SETTINGS)
        assert set(one.ledger.action) == {"kept", "dropped"} and set(two.ledger.action) >= {
            "moved",
            "merged",
        }
        results.append((one, two))
    for one, two in results[1:]:
        for level, expected in zip((one, two), results[0], strict=True):
            pd.testing.assert_frame_equal(level.ledger, expected.ledger)
            assert level.audit(table) == expected.audit(table)


def test_a_level_s_noise_is_that_of_its_labels() -> None:
    table, rows = checked(*crowd(1))
    limit = SETTINGS.thresholds("video")
    tracklets = table.tracklet.to_numpy()
    one = tracklet.denoise_tracklets(table, rows, tracklets, SETTINGS)
    two = single_video.denoise_videos(table, rows, one.labels, SETTINGS)
    radius = SETTINGS.thresholds("tracklet").radius
    for measured, labels in (
        (one.before, tracklets),
        (one.after, one.labels),
        (two.before, one.labels),
        (two.after, two.labels),
    ):
        away = arrays.distances_to_others(rows, labels)[labels >= 0]
        widest = pd.Series(away).groupby(labels[labels >= 0]).max()
        assert (measured.crops, measured.identities) == (len(away), len(widest))
        assert measured.outside == (away > radius).sum()
        assert measured.mean_radius == pytest.approx(widest.mean(), abs=1e-6)
        assert measured.largest_radius == pytest.approx(widest.max(), abs=1e-6)
    pairs = cannot_link.crop_pairs(table)
    for measured, labels in ((two.before, one.labels), (two.after, two.labels)):
        close = 0
        # Only identities of one video are compared with each other.
        for video in table.video.unique():
            here = np.where(table.video == video, labels, -1)
            own = np.unique(here[here >= 0])
            groups = np.where(here < 0, -1, np.searchsorted(own, here))
            seen = table.frame[here >= 0].groupby(here[here >= 0])
            apart = contrast.distances(
                arrays.centroids(rows, groups, len(own)),
                seen.size().to_numpy(),
                seen.min().to_numpy(),
                seen.max().to_numpy(),
            )
            never = cannot_link.forbidden_pairs(table, here, pairs).toarray()
            close += int(np.triu((apart < limit.separation) & ~never, 1).sum())
        assert measured.close_pairs == close


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [True, False])
def test_rows_are_the_unit_features_in_the_table_s_order(
    tmp_path: Path, dtype: type, shuffled: bool
) -> None:
    crops, features = crowd()
    crops["crop"] = crops.crop if shuffled else np.arange(len(crops))
    np.save(tmp_path / "features.npy", features.astype(dtype))
    table, rows = checked(crops, np.load(tmp_path / "features.npy", mmap_mode="r"))
    assert isinstance(rows, Rows) and isinstance(rows.given, np.memmap)
    expected = arrays.unit(features.astype(dtype))[np.argsort(crops.crop.to_numpy())]
    assert table.crop.tolist() == sorted(crops.crop) and list(table) == [
        "crop",
        "video",
        "frame",
        "tracklet",
    ]
    assert len(rows) == len(expected) and rows.shape == expected.shape
    for part in (slice(None), slice(5, 9), np.array([7, 3, 3]), np.arange(len(rows)) % 3 == 0, 11):
        assert rows[part].dtype == np.float32
        np.testing.assert_array_equal(rows[part], expected[part])
