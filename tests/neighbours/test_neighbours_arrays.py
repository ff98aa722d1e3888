"""Sums, centroids and close pairs over groups and blocks of rows."""

from __future__ import annotations

import numpy as np
import pytest

from cion_core.neighbours import arrays


def test_centroid_of_opposites_and_of_nobody_is_zero() -> None:
    centres = arrays.centroids(np.float32([[1, 0], [-1, 0], [0, 2]]), np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(centres, [[0, 0], [0, 0], [0, 1]])


def test_close_pairs_are_found_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 3)
    points = arrays.unit(np.random.default_rng(0).normal(size=(11, 3)))
    found = {
        (int(i), int(j))
        for a, b, _ in arrays.close_pairs(points, 0.6)
        for i, j in zip(a, b, strict=True)
    }
    expected = {
        (i, j) for i in range(11) for j in range(i + 1, 11) if 1 - points[i] @ points[j] < 0.6
    }
    assert found == expected and expected


def test_blocks_hold_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 4)
    groups = np.array([2, 0, -1, 2, 5, 0, 2, 2, 2, 5])
    assert [rows.tolist() for rows in arrays.group_blocks(groups)] == [
        [1, 5, 0, 3, 6, 7, 8],
        [4, 9],
    ]
    assert arrays.group_blocks(np.array([-1, -1])) == [] == arrays.group_blocks(np.empty(0, int))
    assert arrays.run_starts(groups[arrays.group_blocks(groups)[0]]).tolist() == [0, 2]


def test_group_sums_equal_plain_sums_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 7)
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(-1, 9, 60)
    expected = [features[groups == group].sum(0) for group in range(10)]
    np.testing.assert_allclose(arrays.group_sums(features, groups, 10), expected, atol=1e-5)
    weights = rng.random(60).astype(np.float32)
    expected = [
        (weights[groups == group, None] * features[groups == group]).sum(0) for group in range(10)
    ]
    np.testing.assert_allclose(
        arrays.group_sums(features, groups, 10, weights), expected, atol=1e-5
    )
    np.testing.assert_allclose(
        arrays.centroids(features, groups, 10, weights), arrays.unit(expected), atol=1e-5
    )
    same = arrays.group_sums(features, groups, 10, np.ones(60, np.float32))
    np.testing.assert_array_equal(same, arrays.group_sums(features, groups, 10))


def test_distance_to_the_others_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", 7)
    rng = np.random.default_rng(0)
    features, groups = arrays.unit(rng.normal(size=(60, 3))), rng.integers(-1, 12, 60)
    groups[:2] = 12, 13  # two who are alone
    expected = np.zeros(60)
    for row in range(60):
        others = features[(groups == groups[row]) & (np.arange(60) != row)]
        if groups[row] >= 0 and len(others):
            expected[row] = 1 - features[row] @ arrays.unit(others.sum(0)[None])[0]
    found = arrays.distances_to_others(features, groups)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[0] == found[1] == 0 and found.max() > 0.5
    apart = np.float32([[1, 0], [-1, 0], [0, 1]])  # of the last the others are nowhere
    assert arrays.distances_to_others(apart, np.zeros(3, int))[2] == 1
