"""Level 1: inside one tracklet, remove the farthest sample while the tracklet is wider than the radius (DESIGN §4)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise import calibrate, noise
from cion_core.denoise.level import Level, ledger
from cion_core.denoise.noise import Noise

TIE = 1e-6  # two samples are equally far from their centroid, but for rounding


def consistent(features: np.ndarray, groups: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Remove the farthest sample of every group whose radius exceeds `radius`, again and again until none does.

    Features float32 [N, D]; groups int [N], -1 is left alone. All groups go through each round together; among
    equally far samples the first row goes. Returns the groups with -1 for what was removed, and the distance of each
    sample to its group's centroid: the final one, or the one at its removal (float32 [N]).
    """
    left = groups.copy()
    distance = np.zeros(len(groups), np.float32)
    rows = np.flatnonzero(groups >= 0)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    while len(rows):
        _, start, member = np.unique(left[rows], return_index=True, return_inverse=True)
        centres = noise.unit(np.add.reduceat(features[rows], start, axis=0))
        distance[rows] = np.maximum(1 - np.einsum("nd,nd->n", features[rows], centres[member]), 0)
        widest = np.maximum.reduceat(distance[rows], start)
        open_ = widest > radius
        farthest = np.flatnonzero(distance[rows] >= widest[member] - TIE)
        farthest = farthest[np.unique(member[farthest], return_index=True)[1]]  # one for each group
        left[rows[farthest[open_]]] = -1
        rows = rows[open_[member] & (left[rows] >= 0)]
    return left, distance


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    radius: float | None = None,
    min_crops: int = 1,
    false_link_rate: float = 0.05,
) -> Level:
    """Level 1. Every tracklet becomes an identity of its own number, made of its consistent samples.

    `crops` and `features` as `checks.checked` returns them. radius None: calibrated. A tracklet with fewer than
    `min_crops` samples left is dropped whole. Labels are -1 for what was removed (the anomalous samples).
    """
    tracklets = crops.tracklet.to_numpy(np.int64)
    curve = calibrate.radius(crops, features, tracklets, false_link_rate) if radius is None else None
    limit = Noise(radius=curve.threshold if curve else radius)
    labels, distance = consistent(features, tracklets, limit.radius)
    outside = labels < 0
    left = pd.Series(~outside).groupby(tracklets).transform("sum").to_numpy()
    short = ~outside & (left < min_crops)
    labels = np.where(short, -1, labels)
    rho = f"{limit.radius:.3f}"
    reason = np.where(
        outside,
        [f"{d:.3f} from its tracklet's centroid, beyond radius {rho}" for d in distance],
        np.where(
            short,
            [f"{n} of its tracklet's crops are left, fewer than {min_crops}" for n in left],
            [f"{d:.3f} from its tracklet's centroid, within radius {rho}" for d in distance],
        ),
    )
    return Level(
        name="tracklet",
        labels=labels,
        ledger=ledger(crops, "tracklet", np.where(labels < 0, "dropped", "kept"), reason, distance, tracklets, labels),
        noise=limit,
        before=noise.measure(features, tracklets, limit),
        after=noise.measure(features, labels, limit),
        calibration={"radius": curve} if curve else {},
    )
