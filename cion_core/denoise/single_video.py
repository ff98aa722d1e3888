"""Level 2: inside one video, merge identities that are too close and find a home for anomalous crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import calibration, cannot_link
from cion_core.denoise.noise import Tally
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.denoise.tracklet import consistent
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

# ways to fare in a video, and of each the action and the rule that the ledger tells
KEPT, HOMELESS, EXPELLED, MOVED, MERGED = range(5)
DONE = ("kept", "dropped", "dropped", "moved", "merged")
BY = ("radius", "no_home", "radius", "radius", "separation")
RULES = ("radius", "no_home", "separation")

CLEAR = 0.75  # a crop goes to an identity that is at most this much as far as the next one


def merge(
    features: np.ndarray, labels: np.ndarray, separation: float, forbidden: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Merge the closest pair of identities until none is closer than `separation`; centroids are recomputed.

    Features float32 [N, D], labels int [N] (-1: none), forbidden bool [n, n] over the sorted identities. The lower
    number survives. Returns the new labels and the merges (survivor, merged, distance) in order.
    """
    names, groups = np.unique(labels[labels >= 0], return_inverse=True)
    total = arrays.sums(features[labels >= 0], groups, len(names))
    centres = arrays.unit(total)
    distance = 1 - centres @ centres.T
    np.fill_diagonal(distance, np.inf)
    distance[forbidden] = np.inf
    forbidden, merges, target = forbidden.copy(), [], np.arange(len(names))
    while distance.size and distance.min() < separation:
        i, j = divmod(int(distance.argmin()), len(names))
        i, j = min(i, j), max(i, j)
        merges.append((int(names[i]), int(names[j]), float(distance[i, j])))
        target[target == j] = i
        total[i] += total[j]
        centres[i] = arrays.unit(total[i : i + 1])[0]
        forbidden[i] |= forbidden[j]
        forbidden[:, i] |= forbidden[:, j]
        distance[j] = distance[:, j] = np.inf
        open_ = np.isfinite(distance[i]) & ~forbidden[i]
        distance[i] = distance[:, i] = np.where(open_, 1 - centres @ centres[i], np.inf)
    out = labels.copy()
    out[labels >= 0] = names[target[groups]]
    return out, merges


def offer(
    features: np.ndarray, labels: np.ndarray, radius: float, pairs: np.ndarray, refused: set[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Give each crop without an identity to the nearest one, if it lies within `radius` and CLEAR of the next one.

    Nearest crop first. pairs int [P, 2]: rows that show different people, of which no identity takes two. refused:
    (row, identity) that are not tried again. Returns the new labels and the distance of each crop that found a home
    (NaN elsewhere).
    """
    out, distance = labels.copy(), np.full(len(labels), np.nan)
    names, groups = np.unique(labels[labels >= 0], return_inverse=True)
    loose = np.flatnonzero(labels < 0)
    if not len(names) or not len(loose):
        return out, distance
    d = 1 - features[loose] @ arrays.centroids(features[labels >= 0], groups, len(names)).T
    nearest = d.argmin(1)
    near = d[np.arange(len(loose)), nearest]
    d[np.arange(len(loose)), nearest] = np.inf
    others: dict[int, list[int]] = {}
    both = np.concatenate([pairs, pairs[:, ::-1]])
    for a, b in both[labels[both[:, 0]] < 0].tolist():
        others.setdefault(a, []).append(b)
    clear = np.flatnonzero((near <= radius) & (near <= CLEAR * d.min(1)))
    for k in clear[np.lexsort((clear, near[clear]))]:
        row, name = int(loose[k]), int(names[nearest[k]])
        if (row, name) not in refused and all(out[other] != name for other in others.get(row, ())):
            out[row], distance[row] = name, max(float(near[k]), 0.0)
    return out, distance


@dataclass
class _Story:
    """What happened in one video: the last word on each crop."""

    labels: np.ndarray
    merged: dict[int, tuple[int, float]] = field(default_factory=dict)  # identity -> its first merge
    moved: dict[int, float] = field(default_factory=dict)
    expelled: dict[int, float] = field(default_factory=dict)


def one_video(
    tracklets: np.ndarray, features: np.ndarray, labels: np.ndarray, limit: Thresholds, pairs: np.ndarray
) -> _Story:
    """Merge, re-offer and re-apply consistency within one video until nothing changes.

    It ends: merges only get fewer, and a crop that consistency expels is not offered to that identity again.
    """
    story = _Story(labels.copy())
    refused: set[tuple[int, int]] = set()
    while True:
        before, tried = story.labels, len(refused)
        merged, merges = merge(features, before, limit.separation, forbidden(tracklets, before, pairs))
        for survivor, gone, distance in merges:
            story.merged.setdefault(survivor, (gone, distance))
            story.merged.setdefault(gone, (survivor, distance))
        given, distances = offer(features, merged, limit.radius, pairs, refused)
        for row in np.flatnonzero(given != merged).tolist():
            story.moved[row] = float(distances[row])
        story.labels, distances = consistent(features, given, limit.radius)
        for row in np.flatnonzero(story.labels != given).tolist():
            refused.add((row, int(given[row])))
            story.expelled[row] = float(distances[row])
        if np.array_equal(story.labels, before) and len(refused) == tried:
            return story


def forbidden(tracklets: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`cannot_link.between` for the few identities of one video, bool [n, n]."""
    names = np.unique(labels[labels >= 0])
    never = np.zeros((len(names), len(names)), bool)
    never[cannot_link.apart(tracklets, labels, pairs, names)] = True
    return never


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 2, every video by itself.

    crops, features as `checks.checked` returns them, all of level 1's input; labels int64 [N]: level 1's identities,
    -1 for its anomalous crops, which are offered again. saved: of no use here, where no video takes long.
    """
    cannot, rate = settings.cannot_link, settings.false_link_rate
    limit, curves = settings.thresholds("video"), {}
    if limit.radius is None:
        curves["radius"] = calibration.radius(crops, features, rate, cannot)
    if limit.separation is None:
        curves["separation"] = calibration.separation(crops, features, labels, rate, cannot)
    limit = replace(limit, **{kind: curve.threshold for kind, curve in curves.items()})
    out, kinds = labels.copy(), np.empty(len(labels), np.int8)
    others, distances = np.empty(len(labels), np.int64), np.empty(len(labels))
    before, after = Tally(limit), Tally(limit)
    for rows, pairs in _videos(crops, cannot):
        here, was, tracklets = features[rows], labels[rows], crops.tracklet.to_numpy()[rows]
        story = one_video(tracklets, here, was, limit, pairs)
        out[rows] = story.labels
        kinds[rows], others[rows], distances[rows] = _fate(story, here, was)
        for tally, now in ((before, was), (after, story.labels)):
            tally.add(here, now, forbidden(tracklets, now, pairs))
    action = pd.Categorical.from_codes(_codes(DONE, ACTIONS)[kinds], ACTIONS)
    rule = pd.Categorical.from_codes(_codes(BY, RULES)[kinds], RULES)
    told = np.where(kinds == MERGED, limit.separation, limit.radius)
    return Level(
        name="video",
        labels=out,
        ledger=ledger(crops, "video", action, others, distances, told, rule, labels, out),
        thresholds=limit,
        before=before.measured(),
        after=after.measured(),
        calibration=curves,
    )


def _codes(words: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """The place of each word among the categories."""
    return np.array([categories.index(word) for word in words], np.int8)


def _videos(crops: pd.DataFrame, cannot: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each video, and among them the pairs that show different people."""
    videos = pd.factorize(crops.video)[0]
    blocks = arrays.whole(videos)
    for rows in track(blocks, "videos", "block") if len(blocks) > 1 else blocks:
        pairs = cannot_link.crop_pairs(crops.iloc[rows], cannot)
        begin = arrays.starts(videos[rows])
        for start, end in zip(begin, np.append(begin[1:], len(rows)), strict=True):
            yield rows[start:end], pairs[(start <= pairs[:, 0]) & (pairs[:, 0] < end)] - start


def _fate(story: _Story, features: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How every crop of one video fared: its kind, the identity to be named with it (-1: none), and its distance."""
    names, groups = np.unique(story.labels, return_inverse=True)
    groups = np.where(story.labels < 0, -1, groups)
    distance = arrays.to_own(features, groups, arrays.centroids(features, groups, len(names))).astype(float)
    kind, other = np.full(len(before), KEPT), np.full(len(before), -1)
    for name, (survivor, d) in story.merged.items():
        of = before == name
        kind[of], other[of], distance[of] = MERGED, survivor, d
    for row, d in story.moved.items():
        kind[row], other[row], distance[row] = MOVED, story.labels[row], d
    lost = story.labels < 0
    kind[lost], other[lost], distance[lost] = HOMELESS, -1, np.nan
    for row, d in story.expelled.items():
        if lost[row]:
            kind[row], distance[row] = EXPELLED, d
    return kind, other, distance
