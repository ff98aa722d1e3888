"""Level 1: inside one tracklet, remove the farthest sample while the tracklet is wider than the radius (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cion_core.denoise import calibration as calibrate, noise
from cion_core.denoise.result import Level, ledger, phrased, thousandths
from cion_core.denoise.noise import Noise, Tally
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

TIE = 1e-6  # two samples are equally far from their centroid, but for rounding


def consistent(features: np.ndarray, groups: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Remove the farthest sample of every group whose radius exceeds `radius`, again and again until none does.

    Features float32 [N, D]; groups int [N], -1 is left alone. Among equally far samples the first row goes. Returns
    the groups with -1 for what was removed, and the distance of each sample to its group's centroid: the final one,
    or the one at its removal (float32 [N]).
    """
    left, _, last = _narrowed(features, groups, radius, noise.whole(groups))
    return left, last


def _narrowed(
    features: np.ndarray | Rows, groups: np.ndarray, radius: float, blocks: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`consistent`, reading each block of whole groups once; with the distances before anything was removed."""
    left = groups.copy()
    first, last = np.zeros((2, len(groups)), np.float32)
    for rows in blocks:
        gone, first[rows], last[rows] = _rounds(features[rows], groups[rows], radius)
        left[rows[gone]] = -1
    return left, first, last


def _rounds(features: np.ndarray, groups: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One block, sorted by group, all its groups together in each round: the rows that go, first and last distances."""
    rows = np.arange(len(groups))
    first, last = np.zeros((2, len(rows)), np.float32)
    gone = np.zeros(len(rows), bool)
    while len(rows):
        here = features[rows] if len(rows) < len(features) else features
        start = noise.starts(groups[rows])
        member = np.repeat(np.arange(len(start)), np.diff(start, append=len(rows)))
        centres = noise.unit(noise.added(here, start))
        distance = np.maximum(1 - np.einsum("nd,nd->n", here, centres[member]), 0)
        if len(rows) == len(features):
            first[:] = distance
        last[rows] = distance
        widest = np.maximum.reduceat(distance, start)
        open_ = widest > radius
        farthest = np.flatnonzero((distance >= widest[member] - TIE) & open_[member])
        farthest = farthest[noise.starts(member[farthest])]  # one for each group
        gone[rows[farthest]] = True
        rows = rows[open_[member] & ~gone[rows]]
    return gone, first, last


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    radius: float | None = None,
    min_crops: int = 1,
    false_link_rate: float = 0.05,
    cannot: bool = True,
) -> Level:
    """Level 1. Every tracklet becomes an identity of its own number, made of its consistent samples.

    `crops` and `features` as `checks.checked` returns them. radius None: calibrated. A tracklet with fewer than
    `min_crops` samples left is dropped whole. cannot: people seen together tell how far strangers lie. Labels are -1
    for what was removed (the anomalous samples).
    """
    tracklets = crops.tracklet.to_numpy(np.int64)
    curve = calibrate.radius(crops, features, false_link_rate, cannot) if radius is None else None
    limit = Noise(radius=curve.threshold if curve else radius)
    blocks = noise.whole(tracklets)
    blocks = track(blocks, "tracklets", "block") if len(blocks) > 1 else blocks
    labels, at_first, distance = _narrowed(features, tracklets, limit.radius, blocks)
    outside = labels < 0
    groups = pd.factorize(tracklets)[0]
    left = np.bincount(groups, ~outside).astype(np.int64)[groups]
    short = ~outside & (left < min_crops)
    labels[short] = -1
    before, after = Tally(limit), Tally(limit)
    before.spheres(tracklets, at_first)
    after.spheres(labels[labels >= 0], distance[labels >= 0])
    rho = f"{limit.radius:.3f}"
    phrases = (
        lambda d: f"{d / 1000:.3f} from its tracklet's centroid, within radius {rho}",
        lambda d: f"{d / 1000:.3f} from its tracklet's centroid, beyond radius {rho}",
        lambda n: f"{n} of its tracklet's crops are left, fewer than {min_crops}",
    )
    reason = phrased(
        lambda kind, number: phrases[kind](number), outside + 2 * short, np.where(short, left, thousandths(distance))
    )
    action = pd.Categorical.from_codes((labels < 0).astype(np.int8), ACTIONS)  # kept, dropped
    return Level(
        name="tracklet",
        labels=labels,
        ledger=ledger(crops, "tracklet", action, reason, distance, tracklets, labels),
        noise=limit,
        before=before.measured(),
        after=after.measured(),
        calibration={"radius": curve} if curve else {},
    )
