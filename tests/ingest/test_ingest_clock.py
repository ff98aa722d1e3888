"""The clock of a video, from the timestamps of its packets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.ingest.clock import LONGEST_GAP, make_timeline

NAN = float("nan")


def at(*stamps: float, declared: float = 10.0, delayed: bool = False):
    return make_timeline(np.array(stamps, float), declared, delayed)


def test_times_are_the_containers_own_from_the_first_frame() -> None:
    clock = at(5.0, 5.1, 5.3, 5.35, 6.0)
    np.testing.assert_allclose(clock.times, [0, 0.1, 0.3, 0.35, 1.0])
    assert clock.replaced == "" and clock.exact


def test_b_frames_are_put_in_the_order_in_which_they_are_shown() -> None:
    clock = at(0, 0.4, 0.2, 0.1, 0.3, 0.5, delayed=True)
    np.testing.assert_allclose(clock.times, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert clock.frame_of_packet.tolist() == [0, 4, 2, 1, 3, 5]
    assert clock.exact


def test_a_gap_stays_and_the_frame_rate_is_that_of_the_recording() -> None:
    stamps = np.concatenate([np.arange(40) / 10, 64 + np.arange(40) / 10])
    clock = make_timeline(stamps, 80 / 68, False)
    np.testing.assert_allclose(clock.times, stamps)
    assert clock.fps == pytest.approx(10) and clock.replaced == ""


@pytest.mark.parametrize(
    ("step", "declared"), [(1 / 480, 480.0), (1 / 480, 30.0), (5.0, 25.0), (1 / 29.97, 30.0)]
)
def test_any_rate_is_taken_as_it_is(step: float, declared: float) -> None:
    clock = make_timeline(np.arange(100) * step, declared, False)
    np.testing.assert_allclose(clock.times, np.arange(100) * step)
    assert clock.fps == pytest.approx(1 / step, rel=0.002)


def test_without_timestamps_the_declared_rate_rules_and_is_told() -> None:
    clock = at(NAN, NAN, NAN, declared=12.5)
    np.testing.assert_allclose(clock.times, [0, 0.08, 0.16])
    assert not clock.exact
    assert (
        clock.replaced
        == "there are no timestamps: 12.5 frames a second are taken, as its header says"
    )


@pytest.mark.parametrize("declared", [0.0, 90_000.0, 1000.0])
def test_without_timestamps_and_rate_25_are_taken(declared: float) -> None:
    clock = at(NAN, NAN, declared=declared)
    assert clock.fps == 25
    assert clock.replaced.endswith(
        "25 frames a second are taken, as is usual, since its header says nothing"
    )


@pytest.mark.parametrize(
    "stamps", [np.zeros(9), np.arange(9) / 90_000, np.r_[np.zeros(6), 1, 2, 3]]
)
def test_absurd_timestamps_are_replaced_by_the_declared_rate(stamps: np.ndarray) -> None:
    clock = make_timeline(stamps, 20.0, False)
    np.testing.assert_allclose(clock.times, np.arange(9) / 20)
    assert clock.replaced.startswith("the timestamps are absurd: 20 frames a second")


def test_missing_equal_and_wild_timestamps_are_put_between_their_neighbours() -> None:
    clock = at(0, 0.1, NAN, 0.3, 0.4, 95_443.7, 0.6, 0.7, 0.7, 0.9)
    np.testing.assert_allclose(clock.times, np.arange(10) / 10)
    assert (
        clock.replaced
        == "3 of 10 timestamps are missing or absurd, and were put between their neighbours"
    )


def test_where_recordings_were_joined_the_clock_goes_on() -> None:
    once = np.arange(50) / 10
    clock = make_timeline(np.concatenate([once, once, 2 * LONGEST_GAP + once]), 10.0, False)
    np.testing.assert_allclose(clock.times, np.arange(150) / 10)
    assert clock.frame_of_packet.tolist() == list(range(150))
    assert (
        clock.replaced
        == "the clock jumps back or by more than a day (2 times), and goes on without the jump"
    )


def test_times_of_decoding_do_not_tell_which_frame_is_which() -> None:
    """AVI stores no others; B-frames are then shown in another order than the stamps say."""
    clock = at(0, 0.1, 0.2, 0.3, delayed=True)
    assert not clock.exact
    np.testing.assert_allclose(clock.times, [0, 0.1, 0.2, 0.3])


numbers = st.floats(-1e6, 1e6) | st.just(NAN) | st.integers(0, 100).map(lambda n: n / 10)


@given(st.lists(numbers, min_size=1, max_size=60), st.floats(0, 1e5), st.booleans())
def test_whatever_the_timestamps_times_rise_from_zero(
    stamps: list[float], declared: float, delayed: bool
) -> None:
    clock = make_timeline(np.array(stamps), declared, delayed)
    assert clock.times[0] == 0
    assert (np.diff(clock.times) > 0).all() and np.isfinite(clock.times).all()
    assert sorted(clock.frame_of_packet) == list(range(len(stamps)))
    assert 0 < clock.fps < float("inf")


@given(st.lists(st.floats(0.002, 1000), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_good_timestamps_are_never_touched(steps: list[float], random) -> None:
    """Neighbouring packets may be exchanged, as B-frames are."""
    stamps = np.cumsum([0.0, *steps])
    stored = stamps.copy()
    far = max(1.0, 10 * min(steps))
    for i in range(0, len(stored) - 1, 2):
        if random.random() < 0.5 and stored[i + 1] - stored[i] < far:
            stored[[i, i + 1]] = stored[[i + 1, i]]
    clock = make_timeline(stored, 10.0, False)
    np.testing.assert_allclose(clock.times[clock.frame_of_packet], stored - stored.min())
    assert clock.replaced == ""
