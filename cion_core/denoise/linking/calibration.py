"""A threshold that was read off the data, and the curve that it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# With fewer negatives their lower tail says nothing.
ENOUGH = 50
# Points of a curve.
POINTS = 64


@dataclass(frozen=True)
class Calibration:
    """A threshold and how it was found.

    Args:
        threshold: a distance.
        how: it was found, in words for people.
        positives: on how many it rests: distances within one person; for a cut, tracklets as they
            are; across videos, right links that are believed.
        negatives: distances of two people; for a cut, tracklets with made switches.
        points: the curve, dicts of `threshold` and of `positives` and `negatives` (the share of
            each below it), or `pairs` (where nobody knows of which kind), or `right` (the share of
            right links up to there).
    """

    threshold: float
    how: str
    positives: int = 0
    negatives: int = 0
    points: list[dict] = field(default_factory=list)


def curve(positives: np.ndarray, negatives: np.ndarray) -> list[dict]:
    """The shares of positives and of negatives below POINTS thresholds over the range of both.

    Args:
        positives: float [p], distances.
        negatives: float [q], distances.

    Returns:
        As `Calibration.points`.
    """
    both = np.concatenate([positives, negatives])
    thresholds = np.linspace(0, float(both.max()), POINTS) if len(both) else np.empty(0)
    of_positives = _share_below(positives, thresholds)
    of_negatives = _share_below(negatives, thresholds)
    return [
        {
            "threshold": round(float(threshold), 5),
            "positives": round(float(positive), 5),
            "negatives": round(float(negative), 5),
        }
        for threshold, positive, negative in zip(
            thresholds, of_positives, of_negatives, strict=True
        )
    ]


def _share_below(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of distances up to each threshold; 0 where there are none."""
    below = np.searchsorted(np.sort(distances), thresholds, side="right")
    return below / max(len(distances), 1)
