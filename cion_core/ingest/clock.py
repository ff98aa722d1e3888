"""The clock of a video: timestamps of packets in, the times of its frames out. Arrays only.

A container stores packets in the order in which they are decoded, each with the time at which its
frame is shown. With B-frames the two orders differ: frames that are shown as I B P are stored as I
P B. Times may be missing, run backwards where recordings were joined, or be absurd where bits are
damaged. What can be repaired from the neighbours is; where most are useless, the declared frame
rate takes their place, and `replaced` says so.

A gap, such as a minute in which a camera recorded nothing, is no error: it stays as long as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FASTEST = 1000.0  # frames a second; without a rate containers declare their clock's ticks, or more
USUAL = 25.0  # frames a second where neither timestamps nor header say anything
LONGEST_GAP = 24 * 3600.0  # seconds; a longer step forward is taken for an error of the clock
NEIGHBOURS = 5  # packets that a timestamp is compared with, itself among them
# A timestamp that lies so many long steps (and a second at least) from its neighbours is astray.
FAR_STEPS = 20


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        times: seconds since the first frame, rising; float64 [frames], in the order in which they
            are shown.
        frame_of_packet: which of them each packet holds; int64 [packets], in the order in which
            they are stored.
        fps: frames a second while the video runs, whatever gaps it has.
        exact: whether a decoded frame can be told by its timestamp; else it must be counted.
        replaced: what of the container's clock was replaced, in words; empty where nothing was.
    """

    times: np.ndarray
    frame_of_packet: np.ndarray
    fps: float
    exact: bool = True
    replaced: str = ""


def make_timeline(stamps: np.ndarray, declared: float, delayed: bool) -> Timeline:
    """Make the clock of a video.

    Args:
        stamps: when each packet's frame is shown, in seconds; float64 [packets], in the order in
            which they are stored, NaN where there is none.
        declared: the frame rate in the container's header, which may be 0 or absurd.
        delayed: whether the codec shows frames in another order than it stores them, in a container
            that has no times of presentation; then times that never fall are those of decoding.

    Returns:
        The times, and what was repaired.
    """
    known = ~np.isnan(stamps)
    if 2 * known.sum() <= len(stamps):
        return _count_at_one_rate(len(stamps), declared, "there are no timestamps")

    # 1. What lies far from its neighbours, or is missing, is put between them.
    usual, long = _measure_steps(stamps[known])
    far = max(1.0, FAR_STEPS * long)
    astray = known.copy()
    astray[known] = _find_astray(stamps[known], far)
    good = known & ~astray
    filled = np.interp(np.arange(len(stamps)), np.flatnonzero(good), stamps[good])

    # 2. Where the clock was set back or far forward, it goes on from where it was.
    steady, jumps = _remove_jumps(filled, usual, far)

    # 3. The order in which frames are shown. Times of decoding do not tell it; the decoder does.
    are_of_decoding = delayed and bool((np.diff(steady) > 0).all())
    order = np.argsort(steady, kind="stable")
    frame_of_packet = np.empty(len(order), np.int64)
    frame_of_packet[order] = np.arange(len(order))

    # 4. Frames that are shown at the same time are spread up to the next.
    times = steady[order] - steady[order[0]]
    rising = np.append(True, np.diff(times) > 1 / FASTEST)
    if 2 * rising.sum() <= len(times):
        return _count_at_one_rate(len(stamps), declared, "the timestamps are absurd")
    step = 1 / _plausible_rate(declared)
    if rising.sum() > 1:
        step = float(np.median(np.diff(times[rising])))
    times = _spread(times, rising, step)

    # 5. What was repaired, in words.
    moved = int((~good).sum() + (~rising).sum())
    said = []
    if moved:
        said.append(
            f"{moved} of {len(stamps)} timestamps are missing or absurd, and were put between "
            "their neighbours"
        )
    if jumps:
        said.append(
            f"the clock jumps back or by more than a day ({jumps} times), and goes on without the "
            "jump"
        )
    fps = _choose_rate(step, declared)
    return Timeline(times, frame_of_packet, fps, not are_of_decoding, "; ".join(said))


def _count_at_one_rate(count: int, declared: float, why: str) -> Timeline:
    """A clock that goes by the number of frames alone."""
    fps = _plausible_rate(declared)
    source = "as its header says"
    if fps != declared:
        source = "as is usual, since its header says nothing"
    said = f"{why}: {fps:g} frames a second are taken, {source}"
    return Timeline(np.arange(count) / fps, np.arange(count), fps, exact=False, replaced=said)


def _plausible_rate(declared: float) -> float:
    """The header's frame rate, or the usual one where no camera can have the header's."""
    return declared if 1 / LONGEST_GAP <= declared < FASTEST else USUAL


def _choose_rate(step: float, declared: float) -> float:
    """Frames a second of a usual step; the header's number, which is exact, where both agree."""
    measured = 1 / step
    agree = abs(declared - measured) < 0.1 * measured
    return declared if agree else measured


def _measure_steps(stamps: np.ndarray) -> tuple[float, float]:
    """Measure the time between two frames that follow one another on the screen.

    Returns:
        The usual time, and a long one (1 of 20 is longer), in seconds.
    """
    steps = np.diff(np.sort(stamps))
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0, 0.0
    return float(np.median(steps)), float(np.quantile(steps, 0.95, method="lower"))


def _find_astray(stamps: np.ndarray, far: float) -> np.ndarray:
    """Find timestamps that lie more than `far` seconds from the median of their neighbours.

    One wild timestamp among its neighbours is astray. After a gap all are later, so that none is.

    Args:
        stamps: seconds, in storage order, none missing; float64 [n].
        far: seconds.

    Returns:
        bool [n].
    """
    if len(stamps) < NEIGHBOURS:
        return np.zeros(len(stamps), bool)
    # What lies before the first counts as earlier, and behind the last as later, so that a single
    # frame at an end is in order.
    ends = np.full(NEIGHBOURS // 2, np.inf)
    around = np.concatenate([-ends, stamps, ends])
    windows = np.lib.stride_tricks.sliding_window_view(around, NEIGHBOURS)
    median = np.median(windows, axis=1)
    return np.abs(stamps - median) > far


def _remove_jumps(stamps: np.ndarray, usual: float, far: float) -> tuple[np.ndarray, int]:
    """Take steps of more than `far` seconds back or a day forward out of timestamps.

    What follows such a step begins one usual step after the latest frame before it.

    Returns:
        The timestamps in storage order, and how many steps were taken out.
    """
    steps = np.diff(stamps)
    is_jump = (steps < -far) | (steps > LONGEST_GAP)
    starts = np.flatnonzero(is_jump) + 1
    first, *others = np.split(stamps, starts)
    parts = [first]
    for part in others:
        latest = parts[-1].max()
        parts.append(part - part.min() + latest + usual)
    return np.concatenate(parts), len(starts)


def _spread(times: np.ndarray, rising: np.ndarray, step: float) -> np.ndarray:
    """Put times that do not rise evenly between those that do; behind the last, `step` apart."""
    kept = np.flatnonzero(rising)
    last = kept[-1]
    behind = times[last] + step * np.arange(1, len(times) - last)
    up_to_last = np.interp(np.arange(last + 1), kept, times[kept])
    return np.concatenate([up_to_last, behind])
