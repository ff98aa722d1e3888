"""Level 1: inside one tracklet.

A tracklet that goes over to somebody else is cut. Then the farthest sample is removed while it is
farther from the others than the radius. What lies apart from everything else in the video, too, is
told apart: it shows no person more often.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import cuts, outliers, switches, video_thresholds
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.noise import Tally
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

KEPT = ACTIONS.index("kept")
DROPPED = ACTIONS.index("dropped")
CUT = ACTIONS.index("cut")
# What decides on a crop at this level: the categories of the ledger's column `rule`.
DECISIONS = ("radius", "min_crops", "switch", "outlier")
# Two samples are equally far from the others, but for rounding.
TIE = 1e-5


def denoise_tracklets(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 1: every tracklet becomes an identity of the same number, of its consistent samples.

    Of a tracklet that is cut (`switches.cut`) the later part becomes another identity. A part with
    fewer than `min_crops` samples left is dropped whole.

    Args:
        crops: as `checks.checked` returns them.
        features: likewise, [N, D].
        labels: int64 [N], the tracklet of each crop.
        settings: thresholds that are not given are found from the data.
        saved: of no use here, where no block takes long.

    Returns:
        The level; labels are -1 for what was removed (the anomalous samples).
    """
    # Step 1: cut, and find the radius of what is then one tracklet.
    parts, cut_score, thresholds, calibrations = _cut(crops, features, labels, settings)
    if thresholds.radius is None:
        as_cut = crops.assign(tracklet=parts)
        calibrations["radius"] = video_thresholds.find_radius(
            as_cut, features, settings.false_link_rate
        )
        thresholds = replace(thresholds, radius=calibrations["radius"].threshold)

    # Step 2: remove what lies too far out. Some cuts are undone by that.
    videos = pd.factorize(crops.video)[0]
    new_labels, at_first, distance = remove_anomalous(
        features, labels, videos, thresholds.radius, parts
    )
    cut_off = np.flatnonzero(parts != labels)
    is_still_cut = np.isin(parts[cut_off], new_labels[cut_off])
    undone = cut_off[~is_still_cut]
    parts[undone] = labels[undone]
    cut_score[undone] = np.nan

    # Step 3: drop what is left of too few.
    outside = new_labels < 0
    group = pd.factorize(parts)[0]
    crops_left = np.bincount(group, ~outside).astype(np.int64)
    too_few = ~outside & (crops_left[group] < settings.min_crops)
    new_labels[too_few] = -1

    # Step 4: of what was removed, tell what is like nothing in its video.
    outlier = outliers.find(features, videos, outside)

    has_identity = new_labels >= 0
    before, after = Tally(thresholds), Tally(thresholds)
    before.spheres(labels, at_first)
    after.spheres(new_labels[has_identity], distance[has_identity])
    table = _ledger(
        crops, labels, new_labels, too_few, outlier, cut_score, distance, thresholds, settings
    )
    return Level(
        name="tracklet",
        labels=new_labels,
        ledger=table,
        thresholds=thresholds,
        before=before.measured(),
        after=after.measured(),
        calibration=calibrations,
    )


def _cut(
    crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray, Thresholds, dict[str, Calibration]]:
    """Cut tracklets, at the limit that is given or found.

    Returns:
        The part of each crop and the scores of cuts, as `switches.cut` has them; the thresholds;
        how the limit was found.
    """
    thresholds = settings.thresholds("tracklet")
    calibrations = {}
    space = None
    if thresholds.cut != switches.CUTS_NOTHING:
        space = switches.learn_tracklet_space(crops, features, labels)
    if thresholds.cut is None:
        calibrations["cut"] = switches.calibrate(space, crops, features, labels)
        thresholds = replace(thresholds, cut=calibrations["cut"].threshold)
    parts, cut_score = switches.cut(space, crops, features, labels, thresholds.cut)
    return parts, cut_score, thresholds, calibrations


def _ledger(
    crops: pd.DataFrame,
    labels: np.ndarray,
    new_labels: np.ndarray,
    too_few: np.ndarray,
    outlier: np.ndarray,
    cut_score: np.ndarray,
    distance: np.ndarray,
    thresholds: Thresholds,
    settings: Settings,
) -> pd.DataFrame:
    """The ledger. A crop that was cut off is told of the cut, unless it was removed later."""
    has_identity = new_labels >= 0
    cut_off = np.isfinite(cut_score) & has_identity
    action = np.where(has_identity, KEPT, DROPPED)
    action[cut_off] = CUT
    # What decided, and the limit that was held against: mostly the radius.
    decision = np.full(len(labels), DECISIONS.index("radius"), np.int8)
    limit = np.full(len(labels), thresholds.radius, np.float64)
    decision[outlier] = DECISIONS.index("outlier")
    decision[too_few] = DECISIONS.index("min_crops")
    limit[too_few] = settings.min_crops
    decision[cut_off] = DECISIONS.index("switch")
    limit[cut_off] = thresholds.cut
    return ledger(
        crops,
        "tracklet",
        action=pd.Categorical.from_codes(action.astype(np.int8), ACTIONS),
        other=np.where(cut_off, labels, -1),
        distance=np.where(cut_off, cut_score, distance),
        limit=limit,
        rule=pd.Categorical.from_codes(decision, DECISIONS),
        source=labels,
        target=new_labels,
    )


def remove_anomalous(
    features: np.ndarray | Rows,
    groups: np.ndarray,
    videos: np.ndarray,
    radius: float,
    parts: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Remove from every group the sample farthest from the others, while it is beyond the radius.

    "Far" is the distance to the centroid of the group's other samples. Of equally far samples, as
    the last two always are, the one goes that is more like another group of the video, or else the
    first row: which of two is the stranger can be seen only from outside.

    Where less than `cuts.SMALLEST_PART` of a part are left, strangers and not a switch led to the
    cut, and its group stays whole.

    Args:
        features: float32 [N, D], unit length.
        groups: int [N], each inside one video.
        videos: int [N].
        radius: a cosine distance.
        parts: int [N], the groups as they were cut; None: they were not.

    Returns:
        The parts with -1 for what was removed, int [N]; and the distance of each sample to the
        others, float32 [N]: of its group before anything was done, and at the end or at its
        removal.
    """
    left = groups.copy() if parts is None else parts.copy()
    first, last = np.zeros((2, len(groups)), np.float32)
    blocks = arrays.group_blocks(videos)
    if len(blocks) > 1:
        blocks = track(blocks, "tracklets", "block")
    for rows in blocks:
        order = np.lexsort((rows, left[rows], groups[rows], videos[rows]))
        rows = rows[order]
        samples, whole, part = features[rows], groups[rows], left[rows]
        group_starts = arrays.run_starts(whole)
        first[rows] = arrays.run_distances_to_others(samples, group_starts)
        removed, last[rows] = _remove_in_rounds(samples, part, videos[rows], radius)
        # Undo cuts that left too few. Each time there are fewer cuts, so this ends.
        while (undo := _cut_in_vain(whole, part, removed)).any():
            part[undo] = whole[undo]
            removed, last[rows] = _remove_in_rounds(samples, part, videos[rows], radius)
        left[rows] = np.where(removed, -1, part)
    return left, first, last


def _cut_in_vain(groups: np.ndarray, parts: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The rows of groups that were cut, but not so that enough of each part are left; bool [N]."""
    cut_groups = groups[groups != parts]
    rows = np.flatnonzero(np.isin(groups, cut_groups))
    part = np.unique(parts[rows], return_inverse=True)[1]
    crops_left = np.bincount(part, ~removed[rows])
    too_few = crops_left < cuts.SMALLEST_PART
    groups_in_vain = groups[rows[too_few[part]]]
    return np.isin(groups, groups_in_vain)


def _remove_in_rounds(
    features: np.ndarray, groups: np.ndarray, videos: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Remove samples from groups that are too wide, one of each group in a round.

    Args:
        features: float32 [N, D], of whole videos, one group after another.
        groups: int [N].
        videos: int [N], sorted.
        radius: a cosine distance.

    Returns:
        The rows that go, bool [N], and the last distances, float32 [N].
    """
    start = arrays.run_starts(groups)
    last = arrays.run_distances_to_others(features, start)
    removed = np.zeros(len(groups), bool)

    # Only samples of groups that are too wide are looked at.
    too_wide = np.maximum.reduceat(last, start) > radius
    size = np.diff(start, append=len(groups))
    rows = np.flatnonzero(np.repeat(too_wide, size))
    likeness_elsewhere = np.empty(len(groups), np.float32)
    likeness_elsewhere[rows] = _likeness_to_other_groups(features, start, videos, rows)
    while len(rows):
        start = arrays.run_starts(groups[rows])
        size = np.diff(start, append=len(rows))
        member = np.repeat(np.arange(len(start)), size)
        distance = arrays.run_distances_to_others(features[rows], start)
        last[rows] = distance
        widest = np.maximum.reduceat(distance, start)
        still_wide = (widest > radius)[member]

        # Of each wide group the farthest; of equally far ones the most like another group.
        is_farthest = distance >= widest[member] - TIE
        farthest = np.flatnonzero(is_farthest & still_wide)
        likeness = likeness_elsewhere[rows[farthest]]
        order = np.lexsort((farthest, -likeness, member[farthest]))
        farthest = farthest[order]
        first_of_group = arrays.run_starts(member[farthest])
        one_of_each = farthest[first_of_group]
        removed[rows[one_of_each]] = True
        rows = rows[still_wide & ~removed[rows]]
    return removed, last


def _likeness_to_other_groups(
    features: np.ndarray, start: np.ndarray, videos: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """How like some rows are to the nearest other group of their video.

    Args:
        features: float32 [N, D].
        start: int, where each group begins.
        videos: int [N], sorted.
        rows: int [R].

    Returns:
        The cosine with that group's centroid, float32 [R]; -1: there is none.
    """
    likeness = np.full(len(rows), -1, np.float32)
    centres = arrays.unit(arrays.run_sums(features, start))
    own_group = np.searchsorted(start, rows, side="right") - 1
    video_of_group = videos[start]
    # In blocks, for a video may be as long as it likes.
    for begin in range(0, len(rows), arrays.BLOCK):
        stop = min(begin + arrays.BLOCK, len(rows))
        block = np.arange(begin, stop)
        video_starts = arrays.run_starts(videos[rows[block]])
        for some in np.split(block, video_starts[1:]):
            video = videos[rows[some[0]]]
            low = np.searchsorted(video_of_group, video)
            high = np.searchsorted(video_of_group, video, "right")
            cosine = features[rows[some]] @ centres[low:high].T
            line = np.arange(len(some))
            cosine[line, own_group[some] - low] = -1
            likeness[some] = cosine.max(1)
    return likeness
