"""Adapt the features to the footage, by its own structure: no labels, no thresholds.

What varies inside a tracklet (pose, light, the edge of the box) cannot tell people apart, whatever
an embedder makes of it; nor can what varies between linked tracklets of several videos (camera,
side of the body). Both are scaled down by the inverse of their covariance: within-class covariance
normalisation (Hatch et al., Interspeech 2006), with the footage's own tracklets and surest links
for classes.
"""

from __future__ import annotations

import math

import numpy as np

from cion_core.neighbours.arrays import group_sums
from cion_core.neighbours.rows import Rows

# At least this much of a covariance is the identity matrix, so that no direction is blown up.
SHRINK = 0.3
# Samples that a covariance is estimated from.
SAMPLES = 50_000


def group_residuals(features: np.ndarray | Rows, groups: np.ndarray) -> np.ndarray:
    """What is left of features when the mean of their group is taken off.

    Args:
        features: float32 [N, D].
        groups: int [N], from 0, or -1: left out.

    Returns:
        float32 [M, D], of groups of two and more. At most about SAMPLES rows: where there are more,
        those of every second, third, ... group.
    """
    # Choose groups.
    size = np.bincount(groups[groups >= 0])
    with_several = np.flatnonzero(size > 1)
    samples_in_all = int(size[with_several].sum())
    every = max(1, math.ceil(samples_in_all / SAMPLES))
    chosen = with_several[::every]

    # Number them from 0. The last place is for rows of no group: -1 points to it.
    number = np.full(len(size) + 1, -1)
    number[chosen] = np.arange(len(chosen))

    rows = np.flatnonzero(number[groups] >= 0)
    samples = features[rows]
    own = number[groups[rows]]
    total = group_sums(samples, own, len(chosen))
    mean = total / size[chosen, None].astype(np.float32)
    return samples - mean[own]


def whitener(residuals: np.ndarray, power: float = 0.5, trust_at: float = 1) -> np.ndarray | None:
    """The covariance of residuals to the power of minus `power`.

    Args:
        residuals: float32 [n, D].
        power: 0.5 whitens, less goes part of the way, 0 leaves all as it is.
        trust_at: samples for each of the D directions at which half of the covariance is taken from
            them; the rest is the identity matrix. At least SHRINK of it is.

    Returns:
        float32 [D, D], to multiply features with from the right; None if nothing varies.
    """
    variance = float((residuals**2).mean()) if len(residuals) else 0.0
    if not variance:
        return None
    count, dim = residuals.shape
    wanted = trust_at * dim
    shrink = max(SHRINK, wanted / (wanted + count))
    measured = (residuals.T @ residuals / count).astype(np.float64)
    covariance = (1 - shrink) * measured
    covariance[np.diag_indices_from(covariance)] += shrink * variance
    values, vectors = np.linalg.eigh(covariance)
    scaled = vectors * values**-power
    return (scaled @ vectors.T).astype(np.float32)
