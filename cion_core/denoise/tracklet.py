"""Level 1: a tracklet that goes over to somebody else is cut; then the farthest sample is removed while it is farther
from the others than the radius."""

from __future__ import annotations

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
TIE = 1e-5  # two samples are equally far from the others, but for rounding


def consistent(
    features: np.ndarray | Rows, groups: np.ndarray, videos: np.ndarray, radius: float, parts: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Remove the sample of every group that is farthest from the centroid of the others, while any is beyond `radius`.

    Features float32 [N, D]; groups int [N], each inside one of videos int [N]. Of equally far samples, as the last two
    always are, the one goes that is more like another group of the video, or else the first row: which of two is the
    stranger can be seen only from outside. parts int [N]: the groups as they were cut; None: they were not. Where less
    than `switches.LEAST` of a part are left, strangers and not a switch led to the cut, and its group stays whole.
    Returns the parts with -1 for what was removed, and the distance of each sample to the others: of its group before
    anything was done, and at the end or at its removal (float32 [N]).
    """
    left = groups.copy() if parts is None else parts.copy()
    first, last = np.zeros((2, len(groups)), np.float32)
    blocks = arrays.group_blocks(videos)
    for rows in track(blocks, "tracklets", "block") if len(blocks) > 1 else blocks:
        rows = rows[np.lexsort((rows, left[rows], groups[rows], videos[rows]))]
        some, of, now = features[rows], groups[rows], left[rows]
        first[rows] = arrays.run_distances_to_others(some, arrays.run_starts(of))
        gone, last[rows] = _rounds(some, now, videos[rows], radius)
        while (few := _few(of, now, gone)).any():  # each time there are fewer cuts
            now[few] = of[few]
            gone, last[rows] = _rounds(some, now, videos[rows], radius)
        left[rows] = np.where(gone, -1, now)
    return left, first, last


def _few(groups: np.ndarray, parts: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The rows of the groups that were cut, but not so that enough of each part are left; bool [N]."""
    rows = np.flatnonzero(np.isin(groups, groups[groups != parts]))
    of = np.unique(parts[rows], return_inverse=True)[1]
    few = np.bincount(of, ~gone[rows]) < switches.LEAST
    return np.isin(groups, groups[rows[few[of]]])


def _rounds(
    features: np.ndarray, groups: np.ndarray, videos: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Some whole videos, one group after another, all their groups together in each round: the rows that go, and the
    last distances."""
    start = arrays.run_starts(groups)
    last, gone = arrays.run_distances_to_others(features, start), np.zeros(len(groups), bool)
    wide = np.maximum.reduceat(last, start) > radius
    rows = np.flatnonzero(np.repeat(wide, np.diff(start, append=len(groups))))
    rival = np.empty(len(groups), np.float32)
    rival[rows] = _rivals(features, start, videos, rows)
    while len(rows):
        start = arrays.run_starts(groups[rows])
        member = np.repeat(np.arange(len(start)), np.diff(start, append=len(rows)))
        last[rows] = distance = arrays.run_distances_to_others(features[rows], start)
        widest = np.maximum.reduceat(distance, start)
        open_ = widest > radius
        farthest = np.flatnonzero((distance >= widest[member] - TIE) & open_[member])
        farthest = farthest[np.lexsort((farthest, -rival[rows[farthest]], member[farthest]))]
        gone[rows[farthest[arrays.run_starts(member[farthest])]]] = True  # one for each group
        rows = rows[open_[member] & ~gone[rows]]
    return gone, last


def _rivals(features: np.ndarray, start: np.ndarray, videos: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of some rows the cosine with the centroid of the nearest other group of their video, float32; -1: there is none.

    start int: where each group begins; videos int [N], sorted.
    """
    centres, out = arrays.unit(arrays.run_sums(features, start)), np.full(len(rows), -1, np.float32)
    own, of = np.searchsorted(start, rows, side="right") - 1, videos[start]
    for begin in range(0, len(rows), arrays.BLOCK):  # a video may be as long as it likes
        block = np.arange(begin, min(begin + arrays.BLOCK, len(rows)))
        for some in np.split(block, arrays.run_starts(videos[rows[block]])[1:]):
            low, high = np.searchsorted(of, videos[rows[some[0]]]), np.searchsorted(of, videos[rows[some[0]]], "right")
            cosine = features[rows[some]] @ centres[low:high].T
            cosine[np.arange(len(some)), own[some] - low] = -1
            out[some] = cosine.max(1)
    return out


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
    space = None if limit.cut == switches.NONE else switches.space(crops, features, labels)
    if limit.cut is None:
        curves["cut"] = switches.calibrated(space, crops, features, labels)
        limit = replace(limit, cut=curves["cut"].threshold)
    parts, apart = switches.cut(space, crops, features, labels, limit.cut)
    if limit.radius is None:
        whole = crops.assign(tracklet=parts)
        curves["radius"] = calibration.radius(whole, features, settings.false_link_rate)
        limit = replace(limit, radius=curves["radius"].threshold)
    videos = pd.factorize(crops.video)[0]
    out, at_first, distance = consistent(features, labels, videos, limit.radius, parts)
    late = np.flatnonzero(parts != labels)
    back = late[~np.isin(parts[late], out[late])]
    parts[back], apart[back] = labels[back], np.nan
    outside = out < 0
    groups = pd.factorize(parts)[0]
    left = np.bincount(groups, ~outside).astype(np.int64)[groups]
    short = ~outside & (left < settings.min_crops)
    out[short] = -1
    before, after = Tally(limit), Tally(limit)
    before.spheres(labels, at_first)
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
