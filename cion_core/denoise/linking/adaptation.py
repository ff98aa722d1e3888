"""An adaptor of the features to the footage, learnt from its own structure: no labels, no thresholds.

What varies inside a tracklet (pose, light, the edge of the box) cannot tell people apart, whatever an embedder makes of
it; nor can what varies between linked tracklets of several videos (camera, side of the body). Both are scaled down by
the inverse of their covariance: within-class covariance normalisation (Hatch et al., Interspeech 2006), with the
footage's own tracklets and surest links for classes.
"""

from __future__ import annotations

import numpy as np

from cion_core.neighbours.arrays import group_sums
from cion_core.neighbours.rows import Rows

SHRINK = 0.3  # at least this much of a covariance is the identity's, so that no direction is blown up
SAMPLES = 50_000  # that a covariance is estimated from


def residuals(features: np.ndarray | Rows, groups: np.ndarray) -> np.ndarray:
    """What is left of features [N, D] less the mean of their group, float32, of groups of two and more.

    groups int [N], 0... or -1 (left out). At most about SAMPLES rows: those of every second, third, ... group where
    there are more.
    """
    size = np.bincount(groups[groups >= 0])
    several = np.flatnonzero(size > 1)
    chosen = several[:: max(1, -(-int(size[several].sum()) // SAMPLES))]
    place = np.full(len(size) + 1, -1)  # the last is for groups of -1
    place[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(place[groups] >= 0)
    part, own = features[rows], place[groups[rows]]
    mean = group_sums(part, own, len(chosen)) / size[chosen, None].astype(np.float32)
    return part - mean[own]


def whitener(rest: np.ndarray, power: float = 0.5, each: float = 1) -> np.ndarray | None:
    """The covariance of `rest` [n, D] to the power of -`power`, float32 [D, D]; None if nothing varies.

    power 0.5 whitens, less goes part of the way, 0 leaves all as it is. The covariance is shrunk towards the identity
    by SHRINK, or by more where there are fewer than a few times `each` samples for each of the D directions.
    """
    variance = float((rest**2).mean()) if len(rest) else 0.0
    if not variance:
        return None
    wanted = each * rest.shape[1]
    shrink = max(SHRINK, wanted / (wanted + len(rest)))
    covariance = (1 - shrink) * (rest.T @ rest / len(rest)).astype(np.float64)
    covariance[np.diag_indices_from(covariance)] += shrink * variance
    values, vectors = np.linalg.eigh(covariance)
    return ((vectors * values**-power) @ vectors.T).astype(np.float32)
