"""Crops that lie apart from all others of their video."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import Settings, outliers, tracklet
from cion_core.neighbours import arrays


def scattered(centre: np.ndarray, count: int, spread: float, seed: int) -> np.ndarray:
    """Points around a direction, float32 [count, D], unit length."""
    noise = np.random.default_rng(seed).normal(size=(count, len(centre)))
    return arrays.unit(centre + spread * arrays.unit(noise))


def literal_factors(points: np.ndarray) -> np.ndarray:
    """Definitions 3 to 7 of Breunig et al., for points of which no two are as far from a third."""
    distance = 1 - points @ points.T
    nearest = [np.argsort(row)[1 : outliers.NEIGHBOURS + 1] for row in distance]
    radius = [distance[a, nearest[a][-1]] for a in range(len(points))]
    reach = [[max(distance[a, b], radius[b]) for b in nearest[a]] for a in range(len(points))]
    density = np.array([1 / np.mean(row) for row in reach])
    return np.array([density[nearest[a]].mean() / density[a] for a in range(len(points))])


def test_factors_are_those_of_the_paper() -> None:
    points = arrays.unit(np.random.default_rng(1).normal(size=(60, 8)))
    np.testing.assert_allclose(outliers.outlier_factors(points), literal_factors(points), rtol=1e-4)


def test_the_example() -> None:
    """Six crops 0.1 from each other, and a box of the wall 0.5 from each of them."""
    cosines = np.full((7, 7), 0.9)
    cosines[6] = cosines[:, 6] = 0.5
    np.fill_diagonal(cosines, 1)
    points = np.linalg.cholesky(cosines)
    assert outliers.outlier_factors(points) == pytest.approx([1] * 6 + [5], rel=1e-3)


def test_a_thin_cloud_has_no_outliers_and_a_point_beside_a_dense_one_is_one() -> None:
    """What counts is how far the neighbours are from each other."""
    axes = np.eye(16, dtype=np.float32)
    thin, dense = scattered(axes[0], 20, 0.6, 0), scattered(axes[1], 20, 0.1, 1)
    beside = scattered(axes[1], 1, 0.6, 2)
    factors = outliers.outlier_factors(np.concatenate([thin, dense, beside]))
    assert factors[:40].max() < outliers.APART < factors[40]


@pytest.mark.parametrize("count", range(1, 8))
def test_few_points_and_equal_ones_are_no_outliers(count: int) -> None:
    same = np.tile(np.float32([1, 0]), (count, 1))
    assert outliers.outlier_factors(same) == pytest.approx(1)


def test_of_no_crops_none_is_an_outlier() -> None:
    nothing = np.empty(0, int)
    found = outliers.find(np.empty((0, 2), np.float32), nothing, nothing.astype(bool))
    assert found.shape == (0,) and found.dtype == bool


def test_only_crops_that_are_asked_about_are_found_and_each_video_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    axes = np.eye(16, dtype=np.float32)
    crowd, wall = scattered(axes[0], 12, 0.2, 0), axes[[1]]
    features = np.concatenate([crowd, wall, crowd, scattered(axes[1], 12, 0.2, 3)])
    videos = np.repeat([4, 2], [13, 24])
    everything = np.ones(len(videos), bool)
    assert np.flatnonzero(outliers.find(features, videos, everything)).tolist() == [12]
    assert not outliers.find(features, videos, np.arange(len(videos)) != 12).any()
    monkeypatch.setattr(outliers, "TOGETHER", 20)  # the second video in two parts
    assert np.flatnonzero(outliers.find(features, videos, everything)).tolist() == [12]


def test_what_shows_nobody_and_who_belongs_elsewhere_are_dropped_for_different_reasons() -> None:
    """A crop of the second person and a piece of wall are in the first one's tracklet."""
    axes = np.eye(16, dtype=np.float32)
    people = [scattered(axes[person], 12, 0.2, person) for person in (0, 1)]
    features = np.concatenate([people[0][:10], people[1][10:11], axes[[5]], people[1][:10]])
    labels = np.repeat([0, 1], [12, 10])
    crops = pd.DataFrame({"crop": range(22), "video": "v", "frame": range(22), "tracklet": labels})
    level = tracklet.denoise_tracklets(
        crops, features, labels, Settings(radius={"tracklet": 0.3}, cut={"tracklet": 4})
    )
    dropped = level.ledger[level.ledger.action == "dropped"]
    assert dict(zip(dropped.crop, dropped.rule, strict=True)) == {10: "radius", 11: "outlier"}
    assert level.audit(crops)["dropped_by"] == {"outlier": 1, "radius": 1}
