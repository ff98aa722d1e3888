"""Purity, recall and fragments of tracklets, by hand and as properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.audit.tracking_scores import Counts, count, long_enough

PLACES = 12  # of people, far from each other


def boxes(rows: list[tuple[int, int, int]], who: str) -> pd.DataFrame:
    """frame, `who`, x1 y1 x2 y2 of (frame, number, place)."""
    table = pd.DataFrame(rows, columns=["frame", who, "place"])
    left = table.place * 100.0
    return table.assign(x1=left, y1=10.0, x2=left + 30, y2=90.0).drop(columns="place")


def test_the_example_of_two_tracklets() -> None:
    """Ann stands at place 0 for 13 frames, Bob at place 1 for 2."""
    truth = boxes(
        [(frame, 1, 0) for frame in range(13)] + [(frame, 2, 1) for frame in (8, 9)], "person"
    )
    first = [(frame, 1, 0) for frame in range(8)] + [(frame, 1, 1) for frame in (8, 9)]
    second = [(frame, 2, 0) for frame in range(8, 13)]
    counts = count(boxes(first + second, "tracklet"), truth)
    assert counts == Counts(15, 15, 15, 13, 2, 1, 1)
    assert counts.purity == pytest.approx(13 / 15) and counts.recall == 1.0
    assert counts.fragments == 2.0 and counts.mixed == 0.5


def test_boxes_of_nobody_count_neither_for_nor_against_purity() -> None:
    truth = boxes([(frame, 1, 0) for frame in range(10)], "person")
    tracked = boxes(
        [(frame, 5, 0) for frame in range(6)] + [(frame, 6, 3) for frame in range(6)], "tracklet"
    )
    counts = count(tracked, truth)
    assert counts.purity == 1.0 and counts.recall == 0.6 and counts.tracklets == 1


def test_a_person_in_two_boxes_of_a_frame_is_found_once() -> None:
    truth = boxes([(0, 1, 0), (0, 2, 1)], "person")
    tracked = boxes([(0, 5, 0), (0, 6, 0)], "tracklet")
    assert count(tracked, truth).recall == 0.5


def test_nothing_tracked_is_pure_and_finds_nothing() -> None:
    counts = count(boxes([], "tracklet"), boxes([(0, 1, 0)], "person"))
    assert counts.purity == 1.0 and counts.recall == 0.0 and counts.fragments == 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16))
def test_splitting_a_tracklet_never_lowers_purity_nor_changes_recall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 20, 60)
    people = rng.integers(0, PLACES, 60)
    truth = boxes(
        [(f, p, p) for f, p in zip(frames, people, strict=True)], "person"
    ).drop_duplicates()
    tracked = truth.rename(columns={"person": "tracklet"}).assign(
        tracklet=rng.integers(0, 5, len(truth))
    )
    parts = tracked.assign(tracklet=tracked.tracklet * 2 + rng.integers(0, 2, len(tracked)))
    whole, split = count(tracked, truth), count(parts, truth)
    assert split.purity >= whole.purity and split.recall == whole.recall == 1.0
    assert split.tracklets >= whole.tracklets


@given(st.lists(st.tuples(*[st.integers(0, 99)] * 7), min_size=1, max_size=4))
def test_counts_of_sequences_add_up(parts: list[tuple]) -> None:
    total = sum((Counts(*part) for part in parts), Counts())
    assert total == Counts(*(sum(column) for column in zip(*parts, strict=True)))


def test_tracklets_that_extract_would_not_write_are_left_out() -> None:
    """Three crops a second: frames at 0.0 and 0.1 s make one crop, 0.4 and 0.7 s one each."""
    tracked = pd.DataFrame(
        {"tracklet": [1, 1, 1, 1, 2, 2, 2], "time_s": [0.0, 0.1, 0.4, 0.7, 0.0, 0.1, 0.4]}
    )
    assert long_enough(tracked, 3, 3).tolist() == [True] * 4 + [False] * 3
    assert long_enough(tracked, 3, 2).all()
    assert len(long_enough(tracked[:0], 3, 3)) == 0
