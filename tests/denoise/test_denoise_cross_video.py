"""Level 3: the Sliding Range, published links against scipy, and reciprocal ones on people that can be told apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.denoise import cross_video, noise
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(2, 70), st.integers(1, 69))
def test_positions_cover_every_neighbourhood(n: int, size: int, stride: int) -> None:
    stride = min(stride, size - 1)
    found = list(cross_video.positions(n, size, stride))
    assert all(len(rows) == min(size, n) for rows in found)
    assert set(np.concatenate(found)) == set(range(n))
    for a, b in pairwise(found):
        assert 1 <= b[0] - a[0] <= stride  # they overlap, so relations connect
    assert found[-1][-1] == n - 1


def test_positions_by_hand() -> None:
    spans = [(int(r[0]), int(r[-1])) for r in cross_video.positions(10, 4, 3)]
    assert spans == [(0, 3), (3, 6), (6, 9)]
    assert [len(r) for r in cross_video.positions(5, None, None)] == [5]
    with pytest.raises(CionError, match="stride 4 must be at least 1 and below the Sliding Range 4"):
        list(cross_video.positions(10, 4, 4))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.01, 0.6))
def test_published_at_full_range_is_connected_components(seed: int, n: int, separation: float) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    label, merges = cross_video.published(points, separation)
    graph = sparse.csr_matrix((1 - points @ points.T < separation) & ~np.eye(n, dtype=bool))
    count, expected = connected_components(graph)
    assert partition(label) == partition(expected) and len(merges) == n - count
    for size in (n, n + 5):
        if size >= 2:
            np.testing.assert_array_equal(cross_video.published(points, separation, size=size)[0], label)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 40), st.integers(2, 12))
def test_published_in_a_range_links_what_lies_in_one_position(seed: int, n: int, size: int) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    near = np.zeros((n, n), bool)
    for rows in cross_video.positions(n, size, None):
        near[np.ix_(rows, rows)] = True
    graph = sparse.csr_matrix((1 - points @ points.T < 0.2) & near & ~np.eye(n, dtype=bool))
    label, _ = cross_video.published(points, 0.2, size=size)
    assert partition(label) == partition(connected_components(graph)[1])


def test_published_stops_chains_at_cannot_links_and_the_radius() -> None:
    angles = np.deg2rad([0, 10, 20, 30])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    assert cross_video.published(points, step)[0].tolist() == [0, 0, 0, 0]
    never = sparse.lil_matrix((4, 4), dtype=bool)
    never[0, 3] = never[3, 0] = True
    assert len(set(cross_video.published(points, step, forbidden=never.tocsr())[0][[0, 3]])) == 2
    spread = cross_video.published(points, step, radius=float(1 - np.cos(np.deg2rad(8))))[0]
    assert len(set(spread.tolist())) == 2  # 5° in a pair, 10° in three, 15° in four


def test_centring_removes_what_a_video_adds() -> None:
    rng = np.random.default_rng(0)
    people = noise.unit(rng.normal(size=(30, 16)))
    points = noise.unit(np.concatenate([people + 0.5 * rng.normal(size=16), people + 0.5 * rng.normal(size=16)]))
    videos = np.repeat([0, 1], 30)

    def rank1(x: np.ndarray) -> float:
        return float(np.mean((x[:30] @ x[30:].T).argmax(1) == np.arange(30)))

    assert rank1(cross_video.centred(points, videos)) > rank1(points)


def test_centring_one_identity_per_video_leaves_something() -> None:
    points = noise.unit(np.random.default_rng(0).normal(size=(3, 4)))
    expected = noise.unit(points - points.mean(0))  # the shrunk mean of one: its own share and the global one's
    np.testing.assert_allclose(cross_video.centred(points, np.arange(3)), expected, atol=1e-5)


def world(
    seed: int, people: int = 24, videos: int = 6, spread: float = 0.35
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Each person once in each video, all together for its one frame; 3 crops per tracklet."""
    rng = np.random.default_rng(seed)
    looks, offset = rng.normal(size=(people, 24)), rng.normal(size=(videos, 24))
    person, video = (grid.ravel() for grid in np.meshgrid(np.arange(people), np.arange(videos)))
    features = looks[person] + offset[video] + spread * rng.normal(size=(len(person), 24))
    features = np.repeat(features, 3, 0) + 0.1 * rng.normal(size=(3 * len(person), 24))
    crops = pd.DataFrame({
        "crop": np.arange(len(features)), "video": np.repeat([f"v{v}" for v in video], 3),
        "frame": np.tile([0, 1, 2], len(person)), "tracklet": np.repeat(np.arange(len(person)), 3),
    })  # fmt: skip
    return crops, noise.unit(features), np.repeat(person, 3)


@pytest.mark.parametrize("size", [None, 96])
def test_reciprocal_finds_the_people(size: int | None) -> None:
    crops, features, person = world(0)
    level = cross_video.denoise(crops, features, crops.tracklet.to_numpy(), size=size)
    assert partition(level.labels) == partition(person)
    assert (level.labels == pd.Series(crops.tracklet).groupby(person).transform("min")).all()
    assert level.after.close_pairs == 0 < level.before.close_pairs
    assert set(level.ledger.action) == {"linked"} and level.calibration["separation"].negatives > 1000


def test_a_range_beyond_the_sequence_is_exact() -> None:
    crops, features, _ = world(1, spread=1.2)
    tracklets = crops.tracklet.to_numpy()
    whole = cross_video.denoise(crops, features, tracklets, Noise(separation=0.7))
    np.testing.assert_array_equal(
        cross_video.denoise(crops, features, tracklets, Noise(separation=0.7), size=500).labels, whole.labels
    )


@pytest.mark.parametrize("linking", cross_video.LINKINGS)
def test_people_seen_together_stay_apart_however_alike(linking: str) -> None:
    crops, features, _ = world(2, spread=4.0)
    level = cross_video.denoise(crops, features, crops.tracklet.to_numpy(), Noise(separation=0.95), linking)
    together = pd.DataFrame({"video": crops.video, "frame": crops.frame, "label": level.labels})
    assert not together.duplicated().any()
    assert (level.labels >= 0).all()


def test_crops_without_an_identity_stay_so_and_out_of_the_ledger() -> None:
    crops, features, _ = world(0)
    labels = np.where(np.arange(len(crops)) % 3 == 2, -1, crops.tracklet)
    level = cross_video.denoise(crops, features, labels)
    assert ((level.labels < 0) == (labels < 0)).all()
    assert level.ledger.crop.tolist() == np.flatnonzero(labels >= 0).tolist()


def test_unknown_linking_names_the_valid_ones() -> None:
    crops, features, _ = world(0, 2, 2)
    with pytest.raises(CionError, match="reciprocal, published"):
        cross_video.denoise(crops, features, crops.tracklet.to_numpy(), linking="nearest")
