"""Schedules over the real steps of a run, so that a change of K, batch or epoch length never makes
one jump.
"""

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
    """Rises linearly over the first `warmup` (a fraction of `steps`), then falls to `end` along a
    cosine.

    `end` is reached at the last step, or so many steps `beyond` it.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return cosine(peak, end, step - rising, steps - rising + beyond)


def layout(
    phases: list[tuple[float, int]], length: int | str, counts: np.ndarray, batch: int
) -> tuple[list[tuple[float, int]], int]:
    """A run of so many steps, or "N epochs", laid out over real steps: (phases, steps).

    `phases` come as [(fraction of the length from which on, K)] and go as [(fraction of the steps,
    K)]. In an epoch each of the identities, of `counts` crops, is visited ⌈count/K⌉ times, K crops
    a time: so an epoch's steps of `batch` crops depend on K.
    """
    if isinstance(length, int):
        return phases, length
    epochs, first, starts = float(length.removesuffix(" epochs")), 0.0, []
    for (begin, instances), end in zip(
        phases, [*(begin for begin, _ in phases[1:]), 1.0], strict=True
    ):
        starts.append(round(first))
        first += (end - begin) * epochs * float((-(-counts // instances)).sum()) * instances / batch
    steps = max(1, round(first))
    return [
        (start / steps, instances) for start, (_, instances) in zip(starts, phases, strict=True)
    ], steps


def phase(phases: list[tuple[float, int]], step: int, steps: int) -> tuple[int, int, int]:
    """Which of `phases` (fraction of the run from which on, value; rising from 0.0) holds at
    `step`.

    Returns (its position in the list, its first step, its value).
    """
    starts = [round(fraction * steps) for fraction, _ in phases]
    position = max(i for i, start in enumerate(starts) if start <= step)
    return position, starts[position], phases[position][1]
