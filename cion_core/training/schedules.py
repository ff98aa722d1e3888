"""Schedules over the real steps of a run: no change of K, batch or epoch makes one jump."""

from __future__ import annotations

import math

import numpy as np


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """From `start` at step 0 to `end` at the last step, `steps` - 1, along half a cosine."""
    progress = step / max(1, steps - 1)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(
    peak: float, end: float, step: int, steps: int, warmup: float, beyond: int = 0
) -> float:
    """A value that rises linearly, then falls along half a cosine.

    Args:
        peak: what it rises to.
        end: what it falls to, at the last step, or so many steps `beyond` it.
        step: at which it is asked for, from 0.
        steps: of the run.
        warmup: over which fraction of them it rises.
        beyond: see `end`.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return cosine(peak, end, step - rising, steps - rising + beyond)


def layout(
    phases: list[tuple[float, int]], length: int | str, counts: np.ndarray, batch: int
) -> tuple[list[tuple[float, int]], int]:
    """Lay the phases of a run out over real steps.

    In an epoch each identity is visited ⌈count/K⌉ times, K crops a time: so the number of steps in
    an epoch depends on K.

    Args:
        phases: (the fraction of the length from which on, K) of each.
        length: of the run: steps, or "N epochs".
        counts: int [I], the crops of each identity.
        batch: crops of a step.

    Returns:
        (The fraction of the steps from which on, K) of each phase; and the number of steps.
    """
    if isinstance(length, int):
        return phases, length
    epochs = float(length.removesuffix(" epochs"))
    first, starts = 0.0, []
    ends = [*(begin for begin, _ in phases[1:]), 1.0]
    for (begin, instances), end in zip(phases, ends, strict=True):
        starts.append(round(first))
        visits = float((-(-counts // instances)).sum())
        first += (end - begin) * epochs * visits * instances / batch
    steps = max(1, round(first))
    in_steps = [
        (start / steps, instances) for start, (_, instances) in zip(starts, phases, strict=True)
    ]
    return in_steps, steps


def phase(phases: list[tuple[float, int]], step: int, steps: int) -> tuple[int, int, int]:
    """Which phase of a run holds at a step.

    Args:
        phases: (the fraction of the run from which on, value) of each, rising from 0.0.
        step: from 0.
        steps: of the run.

    Returns:
        Its position in the list, its first step, its value.
    """
    starts = [round(fraction * steps) for fraction, _ in phases]
    position = max(i for i, start in enumerate(starts) if start <= step)
    return position, starts[position], phases[position][1]
