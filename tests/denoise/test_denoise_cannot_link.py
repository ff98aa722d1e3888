"""Who is seen beside whom, against looking at every pair of crops."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise import cannot_link, single_video


def scene(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    tracklet = 5 * rng.integers(0, 8, n) + 2
    crops = pd.DataFrame(
        {
            "crop": range(n),
            "video": np.where(tracklet < 20, "a", "b"),
            "frame": rng.integers(0, 5, n),
            "tracklet": tracklet,
        }
    )
    return crops, np.where(rng.random(n) < 0.3, -1, tracklet + 5 * rng.integers(0, 2, n))


def slow_pairs(crops: pd.DataFrame) -> set[tuple[int, int]]:
    rows = list(crops.itertuples())
    return {
        (a.Index, b.Index) for a, b in combinations(rows, 2)
        if a.video == b.video and a.frame == b.frame and a.tracklet != b.tracklet
    }  # fmt: skip


def slow_homes(crops: pd.DataFrame, labels: np.ndarray) -> dict[int, int]:
    out = {}
    for tracklet in sorted(set(crops.tracklet)):
        votes = Counter(
            label for label in labels[crops.tracklet == tracklet].tolist() if label >= 0
        )
        out[tracklet] = min(votes, key=lambda label: (-votes[label], label)) if votes else -1
    return out


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_looking_at_every_pair(seed: int) -> None:
    crops, labels = scene(seed)
    pairs = cannot_link.crop_pairs(crops)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == slow_pairs(crops)
    assert len(pairs) == len(slow_pairs(crops))
    home = slow_homes(crops, labels)
    assert cannot_link.most_common_labels(crops.tracklet.to_numpy(), labels).to_dict() == home

    names = sorted(set(labels[labels >= 0].tolist()))
    expected = np.zeros((len(names), len(names)), bool)
    for a, b in slow_pairs(crops):
        i, j = (labels[row] if labels[row] >= 0 else home[crops.tracklet[row]] for row in (a, b))
        if i >= 0 and j >= 0 and i != j:
            expected[names.index(i), names.index(j)] = expected[names.index(j), names.index(i)] = (
                True
            )
    np.testing.assert_array_equal(
        cannot_link.forbidden_pairs(crops, labels, pairs).toarray(), expected
    )
    np.testing.assert_array_equal(
        single_video.forbidden_in_video(crops.tracklet.to_numpy(), labels, pairs), expected
    )


def test_cannot_links_by_hand() -> None:
    crops = pd.DataFrame({
        "crop": range(6), "video": ["a", "a", "a", "b", "a", "a"], "frame": [1, 1, 1, 1, 2, 1],
        "tracklet": [0, 1, 1, 2, 3, 4],
        "x1": [0, 50, 51, 0, 0, 0.5], "y1": 0, "x2": [10, 60, 61, 10, 10, 10.5], "y2": 20,
    })  # fmt: skip
    # 0 and 5 overlap by 9.5/10.5: one detection twice; 1 and 2 are one tracklet; 3 is another
    # video, 4 another frame
    pairs = {tuple(sorted(pair)) for pair in cannot_link.crop_pairs(crops).tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 5), (2, 5)}
    without_boxes = cannot_link.crop_pairs(crops[["crop", "video", "frame", "tracklet"]])
    assert {tuple(sorted(pair)) for pair in without_boxes.tolist()} == pairs | {(0, 5)}


def test_tracklets_once_together_stay_apart_but_a_moved_crop_speaks_for_itself() -> None:
    crops = pd.DataFrame({
        "crop": range(6), "video": "a", "frame": [1, 2, 3, 1, 2, 3], "tracklet": [0, 0, 0, 1, 1, 1],
    })  # fmt: skip
    pairs = cannot_link.crop_pairs(crops)
    # No two crops share a frame now.
    apart = cannot_link.forbidden_pairs(crops, np.array([0, -1, -1, -1, -1, 1]), pairs)
    assert apart.toarray().tolist() == [[False, True], [True, False]]
    # the last crop of 1 was moved into 0, whose own crop there was dropped: fine, and the homes
    # still exclude
    apart = cannot_link.forbidden_pairs(crops, np.array([0, 0, -1, 1, 1, 0]), pairs)
    assert apart.toarray().tolist() == [[False, True], [True, False]]


def test_parts_of_an_exchange_speak_for_themselves() -> None:
    """0 is P and then Q, 1 is Q and then P, and both are cut: P's parts may be joined, and Q's."""
    crops = pd.DataFrame(
        {
            "crop": range(10),
            "video": "a",
            "frame": [1, 2, 3, 4, 5] * 2,
            "tracklet": [0] * 5 + [1] * 5,
        }
    )
    labels = np.array([0, 0, 0, 7, 7, 1, 1, 8, 8, 8])  # P, Q; Q, P: the longer parts are of P
    apart = cannot_link.forbidden_pairs(crops, labels, cannot_link.crop_pairs(crops)).toarray()
    never = {(0, 1), (0, 8), (7, 8)}  # frames 1 and 2, frame 3, frames 4 and 5
    names = [0, 1, 7, 8]
    assert {(names[i], names[j]) for i, j in zip(*np.nonzero(np.triu(apart)), strict=True)} == never
