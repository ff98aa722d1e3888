"""Which frames of a video are looked at, and which packets are decoded for them; arrays only."""

from __future__ import annotations

import math

import numpy as np

# A frame may come so many frame intervals before its slot begins: clocks are rounded and jitter.
EARLY = 0.3
SHORTEST_SKIP = 8  # packets; to begin anew behind a shorter run costs more than it saves

# What happens to a packet: it is not sent to the decoder; it is decoded only if other frames are
# made from it; it is decoded in any case.
SKIP, IF_REFERENCED, WHOLE = 0, 1, 2


def choose_looks(times: np.ndarray, fps: float, rate: float) -> np.ndarray:
    """Choose of every 1/`rate` seconds of the video's clock the first frame.

    Args:
        times: seconds, rising; float64 [frames].
        fps: the video's usual frame rate, by which a frame may come a little early.
        rate: looks per second; infinite: every frame.

    Returns:
        bool [frames].
    """
    if math.isinf(rate):
        return np.ones(len(times), bool)
    slots = np.floor((times + EARLY / fps) * rate + 1e-6)
    begins_slot = np.append(True, np.diff(slots) > 0)
    return begins_slot[: len(times)]  # of no frames, none


def plan(
    frame_of_packet: np.ndarray, keyframe: np.ndarray, wanted: np.ndarray, all_key: bool
) -> np.ndarray:
    """Say what to do with each packet, so that the wanted frames come out as if all were decoded.

    A *group* is a keyframe and the packets up to the next one. It needs nothing from before, with
    one exception: *leading* frames are stored behind the keyframe, shown before it, and made from
    the group before. So of two examples, in which packets are K (keyframe), b (leading) and p:

        packets                      K1 p p p p p p p p K2 b b p p p p p p p p K3 p p
        a p of the first is wanted          ^
        sent to the decoder          #  # # #
        a b of the second is wanted                        ^
        sent to the decoder          #  # # # # # # # # #  #

    What is not sent is skipped in runs of SHORTEST_SKIP packets or more.

    Args:
        frame_of_packet: which frame each packet holds, -1 for one that is never shown; int64
            [packets].
        keyframe: whether a packet is a keyframe; bool [packets].
        wanted: which frames are wanted; bool [frames].
        all_key: whether the codec makes each frame by itself, from one packet.

    Returns:
        SKIP, IF_REFERENCED or WHOLE for each packet; int8 [packets].
    """
    shown = frame_of_packet >= 0
    wanted_packet = shown & wanted[frame_of_packet]
    if all_key:
        return np.where(wanted_packet, WHOLE, SKIP).astype(np.int8)
    actions = np.where(wanted_packet, WHOLE, IF_REFERENCED).astype(np.int8)

    # The packets that need not be sent at all: in each group those behind the last wanted one. A
    # wanted leading frame needs the whole group before its own, so the last group comes first.
    starts = np.flatnonzero(keyframe)
    # A recording that begins amid a stream may have no keyframe, so no group: all packets are sent.
    ends = np.append(starts, len(keyframe))[1:]
    needed = ~_in_groups(starts, ends, len(keyframe))
    needs_whole_group = False
    for start, end in zip(starts[::-1], ends[::-1], strict=True):
        wanted_here = wanted_packet[start:end]
        if needs_whole_group:
            needed[start:end] = True
        elif wanted_here.any():
            last_wanted = start + np.flatnonzero(wanted_here)[-1]
            needed[start : last_wanted + 1] = True
        is_leading = frame_of_packet[start:end] < frame_of_packet[start]
        needs_whole_group = bool((is_leading & wanted_here).any())
    actions[_in_long_runs(~needed)] = SKIP
    return actions


def _in_groups(starts: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` packets are not before the first keyframe; bool [count]."""
    inside = np.zeros(count, bool)
    if len(starts):
        inside[starts[0] : ends[-1]] = True
    return inside


def _in_long_runs(chosen: np.ndarray) -> np.ndarray:
    """Which of `chosen` (bool [n]) lie in a run of at least SHORTEST_SKIP of them; bool [n]."""
    # Each run begins and ends where the value changes; nothing is chosen outside of the array.
    with_ends = np.concatenate([[False], chosen, [False]]).astype(np.int8)
    borders = np.flatnonzero(np.diff(with_ends))
    inside = np.zeros(len(chosen), bool)
    for start, end in borders.reshape(-1, 2):
        inside[start:end] = end - start >= SHORTEST_SKIP
    return inside
