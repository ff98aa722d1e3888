"""Schedules over the real steps of a run, so that a change of K, batch or epoch length never makes one jump."""

from __future__ import annotations

import math


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """From `start` at step 0 to `end` at the last step, `steps` - 1, along half a cosine."""
    progress = step / max(1, steps - 1)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(peak: float, end: float, step: int, steps: int, warmup: float) -> float:
    """Rises linearly over the first `warmup` (a fraction of `steps`), then falls to `end` along a cosine."""
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return cosine(peak, end, step - rising, steps - rising)


def phase(phases: list[tuple[float, int]], step: int, steps: int) -> tuple[int, int, int]:
    """Which of `phases` (fraction of the run from which on, value; rising from 0.0) holds at `step`.

    Returns (its position in the list, its first step, its value).
    """
    starts = [round(fraction * steps) for fraction, _ in phases]
    position = max(i for i, start in enumerate(starts) if start <= step)
    return position, starts[position], phases[position][1]
