"""A threshold that was read off the data, and the curve that it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ENOUGH = 50  # negatives below which their lower tail says nothing
POINTS = 64  # of a curve


@dataclass(frozen=True)
class Calibration:
    """A threshold, how it was found (`rule`, for people), and the curve it was read from.

    positives, negatives: how many of either kind it rests on: distances of one person and of two; for a cut, tracklets
    as they are and with made switches; across videos, right links that are believed. points: dicts of threshold and of
    positives, negatives (share of each below it), or pairs (where nobody knows of which kind); right: the share of
    right links up to there.
    """

    threshold: float
    rule: str
    positives: int = 0
    negatives: int = 0
    points: list[dict] = field(default_factory=list)


def curve(positives: np.ndarray, negatives: np.ndarray) -> list[dict]:
    """Points over the range of both."""
    both = np.concatenate([positives, negatives])
    grid = np.linspace(0, float(both.max()), POINTS) if len(both) else np.empty(0)
    positives, negatives = np.sort(positives), np.sort(negatives)
    below = [np.searchsorted(values, grid, side="right") / max(len(values), 1) for values in (positives, negatives)]
    return [
        {"threshold": round(float(t), 5), "positives": round(float(p), 5), "negatives": round(float(n), 5)}
        for t, p, n in zip(grid, *below, strict=True)
    ]
