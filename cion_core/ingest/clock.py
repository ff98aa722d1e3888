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

# frames a second; containers without a frame rate declare their clock's ticks, 1,000 or more
FASTEST = 1000.0
USUAL = 25.0  # frames a second where neither timestamps nor header say anything
LONGEST_GAP = 24 * 3600.0  # seconds; a longer step forward is taken for an error of the clock
NEIGHBOURS = 5  # packets that a timestamp is compared with, itself among them
FAR_STEPS = (
    20  # a timestamp so many long steps (and a second at least) from its neighbours is astray
)


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


def timeline(stamps: np.ndarray, declared: float, delayed: bool) -> Timeline:
    """The clock of a video.

    Args:
        stamps: when each packet's frame is shown, in seconds; float64 [packets], in the order in
            which they are stored, NaN where there is none.
        declared: the frame rate in the container's header, which may be 0 or absurd.
        delayed: whether the codec shows frames in another order than it stores them, in a container
            that has no times of presentation; then times that never fall are those of decoding.
    """
    known = ~np.isnan(stamps)
    if 2 * known.sum() <= len(stamps):
        return _counted(len(stamps), declared, "there are no timestamps")

    # 1. What lies far from its neighbours, or is missing, is put between them.
    usual, long = _steps(stamps[known])
    far = max(1.0, FAR_STEPS * long)
    astray = known.copy()
    astray[known] = _astray(stamps[known], far)
    good = known & ~astray
    filled = np.interp(np.arange(len(stamps)), np.flatnonzero(good), stamps[good])

    # 2. Where the clock was set back or far forward, it goes on from where it was.
    joined, jumps = _joined(filled, usual, far)

    # 3. The order in which frames are shown. Times of decoding do not tell it; the decoder does.
    of_decoding = delayed and bool((np.diff(joined) > 0).all())
    order = np.argsort(joined, kind="stable")
    frame_of_packet = np.empty(len(order), np.int64)
    frame_of_packet[order] = np.arange(len(order))

    # 4. Frames that are shown at the same time are spread up to the next.
    times = joined[order] - joined[order[0]]
    rising = np.append(True, np.diff(times) > 1 / FASTEST)
    if 2 * rising.sum() <= len(times):
        return _counted(len(stamps), declared, "the timestamps are absurd")
    step = (
        float(np.median(np.diff(times[rising]))) if rising.sum() > 1 else 1 / _plausible(declared)
    )
    times = _spread(times, rising, step)

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
    return Timeline(times, frame_of_packet, _rate(step, declared), not of_decoding, "; ".join(said))


def _counted(count: int, declared: float, why: str) -> Timeline:
    """A clock that goes by the number of frames alone."""
    fps = _plausible(declared)
    source = (
        "as its header says" if fps == declared else "as is usual, since its header says nothing"
    )
    said = f"{why}: {fps:g} frames a second are taken, {source}"
    return Timeline(np.arange(count) / fps, np.arange(count), fps, exact=False, replaced=said)


def _plausible(declared: float) -> float:
    return declared if 1 / LONGEST_GAP <= declared < FASTEST else USUAL


def _rate(step: float, declared: float) -> float:
    """Frames a second of a usual step; the header's number, which is exact, where both agree."""
    measured = 1 / step
    return declared if abs(declared - measured) < 0.1 * measured else measured


def _steps(stamps: np.ndarray) -> tuple[float, float]:
    """Measure the time between two frames that follow one another on the screen.

    Returns:
        The usual time, and a long one (1 of 20 is longer), in seconds.
    """
    steps = np.diff(np.sort(stamps))
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0, 0.0
    return float(np.median(steps)), float(np.quantile(steps, 0.95, method="lower"))


def _astray(stamps: np.ndarray, far: float) -> np.ndarray:
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
    # Before the first all is earlier and behind the last later, so that a frame alone at an end is
    # in order.
    ends = np.full(NEIGHBOURS // 2, np.inf)
    around = np.concatenate([-ends, stamps, ends])
    median = np.median(np.lib.stride_tricks.sliding_window_view(around, NEIGHBOURS), axis=1)
    return np.abs(stamps - median) > far


def _joined(stamps: np.ndarray, usual: float, far: float) -> tuple[np.ndarray, int]:
    """Take steps of more than `far` seconds back or a day forward out of timestamps.

    What follows such a step begins one usual step after the latest frame before it.

    Returns:
        The timestamps in storage order, and how many steps were taken out.
    """
    steps = np.diff(stamps)
    starts = np.flatnonzero((steps < -far) | (steps > LONGEST_GAP)) + 1
    parts = np.split(stamps, starts)
    for number in range(1, len(parts)):
        parts[number] = parts[number] - parts[number].min() + parts[number - 1].max() + usual
    return np.concatenate(parts), len(starts)


def _spread(times: np.ndarray, rising: np.ndarray, step: float) -> np.ndarray:
    """Put times that do not rise evenly between those that do; behind the last, `step` apart."""
    firm = np.flatnonzero(rising)
    last = firm[-1]
    behind = times[last] + step * np.arange(1, len(times) - last)
    between = np.interp(np.arange(last + 1), firm, times[firm])
    return np.concatenate([between, behind])
