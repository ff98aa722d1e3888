"""Which frames are looked at, and which packets that needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.ingest.looks import IF_REFERENCED, SKIP, WHOLE, choose_looks, plan


def taken(times: np.ndarray, fps: float, rate: float) -> list[int]:
    return np.flatnonzero(choose_looks(np.asarray(times, float), fps, rate)).tolist()


@pytest.mark.parametrize(
    ("rate", "indices"), [(10, range(8)), (100, range(8)), (5, [0, 2, 4, 6]), (4, [0, 3, 5])]
)
def test_the_first_frame_of_each_slot_is_taken(rate: float, indices: list[int]) -> None:
    assert taken(np.arange(8) / 10, 10, rate) == list(indices)


def test_every_frame_at_an_infinite_rate() -> None:
    assert taken([0, 0.001, 7], 25, math.inf) == [0, 1, 2]


@given(st.integers(0, 2**32), st.sampled_from([5, 10, 12.5, 25, 29.97]))
def test_a_clock_that_jitters_loses_no_frame_of_a_video_as_fast_as_the_rate(
    seed: int, fps: float
) -> None:
    jitter = np.random.default_rng(seed).uniform(-0.29, 0.29, 60) / fps
    times = np.arange(60) / fps + jitter
    assert taken(times - times.min(), fps, fps)[0] == 0
    assert len(taken(np.arange(60) / fps + jitter.clip(0), fps, fps)) >= 59


@given(st.lists(st.floats(0.001, 3), max_size=80), st.sampled_from([1, 3, 10, 29.97]))
def test_no_slot_is_looked_at_twice_and_none_with_frames_is_left_out(
    steps: list[float], rate: float
) -> None:
    times, fps = np.cumsum([0.0, *steps]), 30.0
    wanted = choose_looks(times, fps, rate)
    slots = np.floor((times + 0.3 / fps) * rate + 1e-6)
    assert sorted(slots[wanted]) == sorted(set(slots))


def decoded(
    actions: np.ndarray, frames: list[int], keyframe: list[bool], needs: list[set[int]]
) -> set[int]:
    """The frames that come out right when packets are treated so.

    `needs`: the packets that each one is made from.
    """
    whole: set[int] = set()
    for packet, action in enumerate(actions):
        if action == SKIP:
            continue
        dropped = action == IF_REFERENCED and not any(packet in of for of in needs)
        if not dropped and needs[packet] <= whole:
            whole.add(packet)
    return {frames[packet] for packet in whole}


@st.composite
def streams(draw) -> tuple[list[int], list[bool], list[set[int]], np.ndarray]:
    """Groups of a keyframe, leading frames of open groups, and frames that need those before.

    Beside them, which frames are wanted.
    """
    frames, keyframe, needs = [], [], []
    for _ in range(draw(st.integers(1, 8))):
        leading = draw(st.integers(0, 2)) if frames else 0
        first = len(frames)
        frames.append(first + leading)
        keyframe.append(True)
        needs.append(set())
        # Shown before the keyframe, but made from it and from the group before.
        for number in range(leading):
            frames.append(first + number)
            keyframe.append(False)
            needs.append({first, first - 1} | needs[first - 1])
        for number in range(draw(st.integers(0, 20))):
            packet = first + leading + 1 + number
            frames.append(packet)
            keyframe.append(False)
            before = first if number == 0 else packet - 1
            needs.append({before} | needs[before])
    wanted = np.array(draw(st.lists(st.booleans(), min_size=len(frames), max_size=len(frames))))
    sparse = draw(st.booleans())
    return (
        frames,
        keyframe,
        needs,
        wanted & (np.arange(len(frames)) % 13 == 0) if sparse else wanted,
    )


@given(streams())
def test_all_wanted_frames_come_out(stream) -> None:
    frames, keyframe, needs, wanted = stream
    actions = plan(np.array(frames), np.array(keyframe), wanted, all_key=False)
    assert set(np.flatnonzero(wanted)) <= decoded(actions, frames, keyframe, needs)


def test_groups_without_a_wanted_frame_are_not_decoded() -> None:
    keyframe = np.arange(60) % 20 == 0
    wanted = np.arange(60) == 43
    actions = plan(np.arange(60), keyframe, wanted, all_key=False)
    assert actions.tolist() == [SKIP] * 40 + [IF_REFERENCED] * 3 + [WHOLE] + [SKIP] * 16


def test_a_wanted_leading_frame_needs_the_group_before() -> None:
    keyframe = np.arange(40) % 20 == 0
    frames = np.arange(40)
    frames[[20, 21]] = 21, 20  # stored behind the keyframe, shown before it
    actions = plan(frames, keyframe, np.arange(40) == 20, all_key=False)
    assert (actions[:22] != SKIP).all() and (actions[22:] == SKIP).all()


def test_of_a_recording_without_a_keyframe_every_packet_is_sent() -> None:
    actions = plan(np.arange(30), np.zeros(30, bool), np.arange(30) == 25, all_key=False)
    assert (actions != SKIP).all()


def test_of_a_codec_of_keyframes_alone_only_wanted_packets_are_decoded() -> None:
    wanted = np.arange(9) % 4 == 0
    actions = plan(np.arange(9), np.ones(9, bool), wanted, all_key=True)
    assert actions.tolist() == [WHOLE, SKIP, SKIP, SKIP, WHOLE, SKIP, SKIP, SKIP, WHOLE]


def test_what_an_edit_list_hides_is_decoded_if_others_need_it_and_never_wanted() -> None:
    frames = np.array([-1, -1, 0, 1])
    actions = plan(
        frames, np.array([True, False, False, False]), np.array([True, True]), all_key=False
    )
    assert actions.tolist() == [IF_REFERENCED, IF_REFERENCED, WHOLE, WHOLE]
