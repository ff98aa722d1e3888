"""Level 1: a tracklet that goes over to somebody else is cut; then, while one is wider than the radius, its farthest
sample is removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import calibration, switches
from cion_core.denoise.noise import Tally
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

CUT = ACTIONS.index("cut")
TIE = 1e-6  # two samples are equally far from their centroid, but for rounding


def consistent(features: np.ndarray, groups: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Remove the farthest sample of every group whose radius exceeds `radius`, again and again until none does.

    Features float32 [N, D]; groups int [N], -1 is left alone. Among equally far samples the first row goes. Returns
    the groups with -1 for what was removed, and the distance of each sample to its group's centroid: the final one,
    or the one at its removal (float32 [N]).
    """
    left, _, last = _narrowed(features, groups, radius, arrays.whole(groups))
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
        start = arrays.starts(groups[rows])
        member = np.repeat(np.arange(len(start)), np.diff(start, append=len(rows)))
        centres = arrays.unit(arrays.added(here, start))
        distance = np.maximum(1 - np.einsum("nd,nd->n", here, centres[member]), 0)
        if len(rows) == len(features):
            first[:] = distance
        last[rows] = distance
        widest = np.maximum.reduceat(distance, start)
        open_ = widest > radius
        farthest = np.flatnonzero((distance >= widest[member] - TIE) & open_[member])
        farthest = farthest[arrays.starts(member[farthest])]  # one for each group
        gone[rows[farthest]] = True
        rows = rows[open_[member] & ~gone[rows]]
    return gone, first, last


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 1. Every tracklet becomes an identity of its own number, made of its consistent samples; of one that is cut
    (`switches.cut`) the later part becomes another identity.

    crops, features as `checks.checked` returns them; labels int64 [N]: the tracklet of each crop. A tracklet with
    fewer than `min_crops` samples left is dropped whole. Labels are -1 for what was removed (the anomalous samples).
    saved: of no use here, where no block takes long.
    """
    limit, curves = settings.thresholds("tracklet"), {}
    space = switches.space(crops, features, labels)
    if limit.cut is None:
        curves["cut"] = switches.calibrated(space, crops, features, labels)
        limit = replace(limit, cut=curves["cut"].threshold)
    parts, apart = switches.cut(space, crops, features, labels, limit.cut)
    if limit.radius is None:
        whole = crops.assign(tracklet=parts)
        curves["radius"] = calibration.radius(whole, features, settings.false_link_rate, settings.cannot_link)
        limit = replace(limit, radius=curves["radius"].threshold)
    blocks = arrays.whole(parts)
    blocks = track(blocks, "tracklets", "block") if len(blocks) > 1 else blocks
    out, at_first, distance = _narrowed(features, parts, limit.radius, blocks)
    outside = out < 0
    groups = pd.factorize(parts)[0]
    left = np.bincount(groups, ~outside).astype(np.int64)[groups]
    short = ~outside & (left < settings.min_crops)
    out[short] = -1
    before, after = Tally(limit), Tally(limit)
    before.spheres(labels, _uncut(features, labels, parts, at_first))
    after.spheres(out[out >= 0], distance[out >= 0])
    gone = np.isfinite(apart) & (out >= 0)
    action = pd.Categorical.from_codes(np.where(gone, CUT, out < 0).astype(np.int8), ACTIONS)  # kept, dropped
    rule = pd.Categorical.from_codes(np.where(gone, 2, short).astype(np.int8), ["radius", "min_crops", "switch"])
    told = np.where(gone, limit.cut, np.where(short, settings.min_crops, limit.radius))
    other, distance = np.where(gone, labels, -1), np.where(gone, apart, distance)
    return Level(
        name="tracklet",
        labels=out,
        ledger=ledger(crops, "tracklet", action, other, distance, told, rule, labels, out),
        thresholds=limit,
        before=before.measured(),
        after=after.measured(),
        calibration=curves,
    )


def _uncut(features: np.ndarray | Rows, labels: np.ndarray, parts: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Distances float32 [N] of samples to their parts' centroids, but those of cut tracklets to the whole one's."""
    out, rows = distance.copy(), np.flatnonzero(np.isin(labels, labels[labels != parts]))
    groups, names = pd.factorize(labels[rows])
    some = features[rows]
    out[rows] = arrays.to_own(some, groups, arrays.centroids(some, groups, len(names)))
    return out
