"""Schedules over the real steps of a run.

So a change of K, batch or epoch length never makes one jump.
"""

from __future__ import annotations

import math

import numpy as np


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """From `start` at step 0 to `end` at the last step, `steps` - 1, along half a cosine."""
    progress = step / max(1, steps - 1)
    share = (1 + math.cos(math.pi * progress)) / 2  # of the way that is left, from 1 to 0
    return end + (start - end) * share


def warmup_cosine(peak: float, end: float, step: int, steps: int, warmup: float) -> float:
    """A linear rise to `peak`, then half a cosine down to `end`.

    Args:
        peak: the highest value.
        end: the last value.
        step: from 0.
        steps: of the run.
        warmup: the fraction of the steps in which it rises.
    """
    rising = round(warmup * steps)  # steps
    if step < rising:
        return peak * (step + 1) / rising
    return cosine(peak, end, step - rising, steps - rising)


def lay_out(
    phases: list[tuple[float, int]], length: int | str, counts: np.ndarray, batch: int
) -> tuple[list[tuple[float, int]], int]:
    """The phases and the steps of a run that may be given in epochs.

    In an epoch an identity of `count` crops is visited ⌈count/K⌉ times, K crops a time. So how many
    steps an epoch has depends on K:

        identities of 3 and 5 crops, batches of 4:   K = 2   2 + 3 visits, 10 crops, 2.5 steps
                                                     K = 4   1 + 2 visits, 12 crops, 3 steps

    Args:
        phases: [(fraction of the length from which on, K)].
        length: a number of steps, or "N epochs".
        counts: int [I], crops of each identity.
        batch: crops of a step.

    Returns:
        [(fraction of the steps from which on, K)], and how many steps there are.
    """
    if isinstance(length, int):
        return phases, length
    epochs = float(length.removesuffix(" epochs"))
    ends = [*(begin for begin, _ in phases[1:]), 1.0]
    starts, done = [], 0.0
    for (begin, instances), end in zip(phases, ends, strict=True):
        starts.append(round(done))
        visits = float((-(-counts // instances)).sum())  # of an epoch
        done += (end - begin) * epochs * visits * instances / batch
    steps = max(1, round(done))
    laid_out = [(start / steps, k) for start, (_, k) in zip(starts, phases, strict=True)]
    return laid_out, steps


def phase_at(phases: list[tuple[float, int]], step: int, steps: int) -> tuple[int, int, int]:
    """Which phase holds at a step.

    Args:
        phases: [(fraction of the run from which on, value)], rising from 0.0.
        step: from 0.
        steps: of the run.

    Returns:
        Its position in the list, its first step, its value.
    """
    starts = [round(fraction * steps) for fraction, _ in phases]
    position = max(i for i, start in enumerate(starts) if start <= step)
    return position, starts[position], phases[position][1]
