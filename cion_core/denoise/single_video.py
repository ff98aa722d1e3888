"""Level 2, inside one video: merge identities that stand out as alike, and find homes for crops.

The crops that want a home are the anomalous ones: those that level 1 removed from a tracklet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import contrast, video_thresholds
from cion_core.denoise.cannot_link import crop_pairs, forbidden_places
from cion_core.denoise.merging import find_homes, merge
from cion_core.denoise.noise import Tally
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

# The fates that a crop can have in a video; of each the ledger's `action` and `rule`.
STAYED, HOMELESS, MOVED, JOINED = range(4)
ACTION_OF = ("kept", "dropped", "moved", "merged")
# A crop that stays is put to no test: its distance stands beside the radius to be looked at.
DECIDED_BY = ("radius", "no_home", "radius", "separation")
# The categories of the ledger's column `rule`.
DECISIONS = ("radius", "no_home", "separation")


def denoise_videos(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 2, every video by itself.

    Args:
        crops: as `checks.checked` returns them, all of level 1's input.
        features: likewise, [N, D].
        labels: int64 [N], level 1's identities; -1 for its anomalous crops, which are offered
            again.
        settings: thresholds that are not given are found from the data.
        saved: of no use here, where no video takes long.
    """
    thresholds = settings.thresholds("video")
    calibrations = {}
    if thresholds.radius is None:
        calibrations["radius"] = video_thresholds.find_radius(
            crops, features, settings.false_link_rate
        )
    if thresholds.separation is None:
        calibrations["separation"] = video_thresholds.find_separation(
            crops, features, labels, settings.cannot_link
        )
    found = {kind: calibration.threshold for kind, calibration in calibrations.items()}
    thresholds = replace(thresholds, **found)

    new_labels = labels.copy()
    fates = np.empty(len(labels), np.int8)
    others = np.empty(len(labels), np.int64)
    distances = np.empty(len(labels))
    before, after = Tally(thresholds), Tally(thresholds)
    tracklets = crops.tracklet.to_numpy(np.int64)
    frames = crops.frame.to_numpy(np.int64)
    for rows, pairs in _videos(crops, settings.cannot_link):
        samples, was = features[rows], labels[rows]
        changes = denoise_video(tracklets[rows], frames[rows], samples, was, thresholds, pairs)
        now = changes.labels
        distances_before = arrays.distances_to_others(samples, was)
        distances_after = arrays.distances_to_others(samples, now)
        new_labels[rows] = now
        fates[rows], others[rows], distances[rows] = _fates_of_crops(changes, distances_after, was)

        had, has = was >= 0, now >= 0
        before.spheres(was[had], distances_before[had])
        after.spheres(now[has], distances_after[has])
        before.close += changes.close_before
        after.close += changes.close_after

    action_codes = _codes(ACTION_OF, ACTIONS)[fates]
    rule_codes = _codes(DECIDED_BY, DECISIONS)[fates]
    action = pd.Categorical.from_codes(action_codes, ACTIONS)
    rule = pd.Categorical.from_codes(rule_codes, DECISIONS)
    limit = np.where(fates == JOINED, thresholds.separation, thresholds.radius)
    table = ledger(crops, "video", action, others, distances, limit, rule, labels, new_labels)
    return Level(
        name="video",
        labels=new_labels,
        ledger=table,
        thresholds=thresholds,
        before=before.measured(),
        after=after.measured(),
        calibration=calibrations,
    )


@dataclass
class VideoChanges:
    """What level 2 changed in one video.

    Args:
        labels: int64 [N], the last word on each crop.
        merged: {identity: (the other identity, distance)} of its first merge.
        moved: {row: distance} of crops that found a home.
        close_before: pairs that may be one and were too close.
        close_after: pairs that are still.
    """

    labels: np.ndarray
    merged: dict[int, tuple[int, float]] = field(default_factory=dict)
    moved: dict[int, float] = field(default_factory=dict)
    close_before: int = 0
    close_after: int = 0


def denoise_video(
    tracklets: np.ndarray,
    frames: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    thresholds: Thresholds,
    pairs: np.ndarray,
) -> VideoChanges:
    """Merge identities within one video, and offer its anomalous crops to those that result.

    Args:
        tracklets: int [N].
        frames: int [N].
        features: float32 [N, D], unit length.
        labels: int64 [N], -1: anomalous.
        thresholds: of level 2.
        pairs: int [P, 2], rows that show different people.
    """
    # Step 1: merge.
    identities, sizes, distance = _compare(features, labels, frames)
    forbidden = forbidden_in_video(tracklets, labels, pairs)
    sets, merges = merge(distance, sizes, thresholds.separation, forbidden)
    changes = VideoChanges(labels.copy())
    for survivor, absorbed, apart in merges:
        one, other = int(identities[survivor]), int(identities[absorbed])
        changes.merged.setdefault(one, (other, apart))
        changes.merged.setdefault(other, (one, apart))
    has_identity = labels >= 0
    place = np.searchsorted(identities, labels[has_identity])
    changes.labels[has_identity] = identities[sets[place]]

    # Step 2: homes for anomalous crops.
    changes.labels, found_at = find_homes(features, changes.labels, thresholds.radius, pairs)
    for row in np.flatnonzero(~np.isnan(found_at)).tolist():
        changes.moved[row] = float(found_at[row])

    # Step 3: count the pairs that are too close.
    changes.close_before = changes.close_after = _count_close(
        distance, forbidden, thresholds.separation
    )
    if changes.close_before:
        distance = _compare(features, changes.labels, frames)[2]
        forbidden = forbidden_in_video(tracklets, changes.labels, pairs)
        changes.close_after = _count_close(distance, forbidden, thresholds.separation)
    return changes


def _compare(
    features: np.ndarray, labels: np.ndarray, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the identities of one video.

    Returns:
        Their numbers int64 [n], sorted; how many crops each has, int [n]; and
        `contrast.distances` between them, float32 [n, n].
    """
    rows = np.flatnonzero(labels >= 0)
    identities, groups, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
    if not len(identities):
        first = last = sizes
    else:
        order = np.argsort(groups, kind="stable")
        start = np.cumsum(sizes) - sizes
        frames_by_identity = frames[rows[order]]
        first = np.minimum.reduceat(frames_by_identity, start)
        last = np.maximum.reduceat(frames_by_identity, start)
    centres = arrays.centroids(features[rows], groups, len(identities))
    return identities, sizes, contrast.distances(centres, sizes, first, last)


def _count_close(distance: np.ndarray, forbidden: np.ndarray, separation: float) -> int:
    """How many pairs that may be one person are closer than the separation."""
    close = (distance < separation) & ~forbidden
    return int(np.triu(close, 1).sum())


def forbidden_in_video(tracklets: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`cannot_link.forbidden_pairs` for the few identities of one video, bool [n, n]."""
    identities = np.unique(labels[labels >= 0])
    count = len(identities)
    i, j = forbidden_places(tracklets, labels, pairs, identities)
    forbidden = np.zeros((count, count), bool)
    forbidden[i, j] = True
    return forbidden


def _codes(words: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """The place of each word among the categories."""
    return np.array([categories.index(word) for word in words], np.int8)


def _videos(crops: pd.DataFrame, cannot_link: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each video, and among them the pairs that show different people."""
    videos = pd.factorize(crops.video)[0]
    blocks = arrays.group_blocks(videos)
    if len(blocks) > 1:
        blocks = track(blocks, "videos", "block")
    for rows in blocks:
        pairs = crop_pairs(crops.iloc[rows], cannot_link)
        starts = arrays.run_starts(videos[rows])
        ends = np.append(starts[1:], len(rows))
        for start, end in zip(starts, ends, strict=True):
            inside = (start <= pairs[:, 0]) & (pairs[:, 0] < end)
            yield rows[start:end], pairs[inside] - start


def _fates_of_crops(
    changes: VideoChanges, to_others: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The fate of every crop of one video.

    Args:
        changes: what changed in it.
        to_others: float32 [N], the distance of each crop to its identity's other crops, in the end.
        before: int64 [N], the identity of each crop before.

    Returns:
        STAYED, HOMELESS, MOVED or JOINED int [N]; the identity to be named with it int [N] (-1:
        none); and the distance to that, float64 [N].
    """
    fate = np.full(len(before), STAYED)
    other = np.full(len(before), -1)
    distance = to_others.astype(float)
    for identity, (joined_with, apart) in changes.merged.items():
        own = before == identity
        fate[own] = JOINED
        other[own] = joined_with
        distance[own] = apart
    for row, found_at in changes.moved.items():
        fate[row] = MOVED
        other[row] = changes.labels[row]
        distance[row] = found_at
    homeless = changes.labels < 0
    fate[homeless] = HOMELESS
    distance[homeless] = np.nan
    return fate, other, distance
