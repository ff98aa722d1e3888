"""The adaptor scales down what varies inside groups.

It does so by the inverse square root of its covariance.
"""

from __future__ import annotations

import numpy as np
import pytest

from cion_core.denoise.linking import adaptation
from cion_core.neighbours.arrays import centroids, unit
from cion_core.neighbours.rows import Rows


def adapted(points: np.ndarray, features: np.ndarray | Rows, groups: np.ndarray) -> np.ndarray:
    """`points` with what varies inside the `groups` of `features` scaled down."""
    matrix = adaptation.whitener(adaptation.group_residuals(features, groups))
    return points if matrix is None else unit(points @ matrix)


def test_residuals_by_hand() -> None:
    features = np.array([[1, 0], [3, 0], [5, 5], [0, 1], [0, 2], [0, 6], [9, 9]], np.float32)
    groups = np.array([0, 0, 1, 2, 2, 2, -1])  # a group of one varies in nothing, -1 is no group
    assert adaptation.group_residuals(features, groups).tolist() == [
        [-1, 0],
        [1, 0],
        [0, -2],
        [0, -1],
        [0, 3],
    ]


def test_residuals_of_many_are_those_of_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(400, 3)).astype(np.float32), np.arange(400) // 4
    everything = adaptation.group_residuals(features, groups)
    monkeypatch.setattr(adaptation, "SAMPLES", 100)
    few = adaptation.group_residuals(features, groups)
    assert len(few) == 100
    assert few == pytest.approx(everything.reshape(100, 4, 3)[::4].reshape(100, 3), abs=1e-6)


def test_whitener_is_the_inverse_root_of_the_shrunk_covariance() -> None:
    rest = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32) * [1, 2, 3, 4]
    covariance = rest.T @ rest / len(rest)
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / 4 * np.eye(4)
    matrix = adaptation.whitener(rest.astype(np.float32))
    assert matrix @ shrunk @ matrix == pytest.approx(np.eye(4), abs=1e-4)
    # 4 directions and 2 samples: shrunk by 4 / 6.
    few = adaptation.whitener(rest[:2].astype(np.float32))
    covariance = rest[:2].T @ rest[:2] / 2
    shrunk = covariance / 3 + 2 / 3 * np.trace(covariance) / 4 * np.eye(4)
    assert few @ shrunk @ few == pytest.approx(np.eye(4), abs=1e-4)


def test_where_nothing_varies_nothing_changes() -> None:
    points = unit(np.random.default_rng(2).normal(size=(5, 3)))
    assert adaptation.whitener(np.empty((0, 3), np.float32)) is None
    assert adapted(points, points, np.arange(5)) is points  # groups of one
    assert adapted(points, np.repeat(points, 2, 0), np.repeat(np.arange(5), 2)) is points


def test_people_stand_out_from_what_varies_inside_tracklets() -> None:
    """With a nuisance larger than people, nearest centroids are of others before, not after."""
    rng = np.random.default_rng(3)
    people = rng.normal(size=(30, 8))
    looks = np.repeat(people, 2, 0)  # two tracklets each
    nuisance = np.zeros((60, 6, 8))
    nuisance[..., :2] = rng.normal(size=(60, 6, 2)) * 6
    nuisance[..., :2] += rng.normal(size=(60, 1, 2)) * 3  # a part of it stays in the mean
    crops = unit((looks[:, None] + nuisance).reshape(-1, 8))
    groups = np.repeat(np.arange(60), 6)
    centres = centroids(crops, groups, 60)

    def found(points: np.ndarray) -> float:
        alike = points @ points.T
        np.fill_diagonal(alike, -2)
        return float((alike.argmax(1) // 2 == np.arange(60) // 2).mean())

    better = adapted(centres, crops, groups)
    assert np.linalg.norm(better, axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert found(better) > found(centres) + 0.15
    rows = Rows(crops, np.ones(len(crops), np.float32))
    assert adapted(centres, rows, groups) == pytest.approx(better, abs=1e-5)


def test_a_smaller_power_goes_part_of_the_way() -> None:
    rest = (np.random.default_rng(0).normal(size=(400, 4)) * [1, 2, 3, 4]).astype(np.float32)
    half = adaptation.whitener(rest, 0.25)
    # The half, applied twice, is the whole.
    np.testing.assert_allclose(half @ half, adaptation.whitener(rest), atol=1e-4)
    np.testing.assert_allclose(adaptation.whitener(rest, 0.0), np.eye(4), atol=1e-6)


def test_few_samples_for_what_is_asked_of_each_direction_shrink_more() -> None:
    rest = (np.random.default_rng(0).normal(size=(40, 4)) * [1, 2, 3, 4]).astype(np.float32)

    def spread(matrix: np.ndarray) -> float:
        values = np.linalg.eigvalsh(matrix)
        return float(values.max() / values.min())

    assert spread(adaptation.whitener(rest, trust_at=100)) < spread(
        adaptation.whitener(rest, trust_at=10)
    )
    assert spread(adaptation.whitener(rest, trust_at=10)) < spread(adaptation.whitener(rest))
