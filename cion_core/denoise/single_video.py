"""Level 2: inside one video, merge identities that stand out as alike and find a home for anomalous crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import calibration, cannot_link, contrast
from cion_core.denoise.noise import Tally
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import ACTIONS

# ways to fare in a video, and of each the action and the rule that the ledger tells
KEPT, HOMELESS, MOVED, MERGED = range(4)
DONE = ("kept", "dropped", "moved", "merged")
BY = ("radius", "no_home", "radius", "separation")
RULES = ("radius", "no_home", "separation")

CLEAR = 0.75  # a crop goes to an identity that is at most this much as far as the next one


def merge(
    distance: np.ndarray, crops: np.ndarray, separation: float, forbidden: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Merge the two identities of the smallest mean distance until none is below `separation`.

    distance float32 [n, n], symmetric; crops int [n]: by how many of each the mean is taken; forbidden bool [n, n].
    Returns which of the n each is in the end part of, the lowest of its set (int [n]), and the merges (survivor,
    merged, distance) in order. Average linkage: one likeness does not chain two people together.
    """
    n = len(distance)
    distance, size, target, merges = distance.copy(), crops.astype(float), np.arange(n), []
    distance[forbidden] = np.inf
    np.fill_diagonal(distance, np.inf)
    while n and distance.min() < separation:
        i, j = sorted(divmod(int(distance.argmin()), n))
        merges.append((i, j, max(float(distance[i, j]), 0.0)))
        target[target == j] = i
        mean = (size[i] * distance[i] + size[j] * distance[j]) / (size[i] + size[j])
        mean[[i, j]] = np.inf
        size[i] += size[j]
        distance[i] = distance[:, i] = mean
        distance[j] = distance[:, j] = np.inf
    return target, merges


def offer(features: np.ndarray, labels: np.ndarray, radius: float, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each crop without an identity to the nearest one, if it lies within `radius` and CLEAR of the next one.

    Nearest crop first. pairs int [P, 2]: rows that show different people, of which no identity takes two. Returns the
    new labels and the distance of each crop that found a home (NaN elsewhere).
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
        if all(out[other] != name for other in others.get(row, ())):
            out[row], distance[row] = name, max(float(near[k]), 0.0)
    return out, distance


@dataclass
class _Story:
    """What happened in one video: the last word on each crop, and how many pairs were and are too close."""

    labels: np.ndarray
    merged: dict[int, tuple[int, float]] = field(default_factory=dict)  # identity -> its first merge
    moved: dict[int, float] = field(default_factory=dict)
    close: tuple[int, int] = (0, 0)


def one_video(
    tracklets: np.ndarray,
    frames: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    limit: Thresholds,
    pairs: np.ndarray,
) -> _Story:
    """Merge identities within one video, and offer its anomalous crops to those that result.

    tracklets, frames int [N]; features float32 [N, D]; labels int64 [N], -1: anomalous; pairs int [P, 2]: rows that
    show different people.
    """
    names, crops, distance = _compared(features, labels, frames)
    never = forbidden(tracklets, labels, pairs)
    target, merges = merge(distance, crops, limit.separation, never)
    story = _Story(labels.copy())
    for survivor, gone, apart in merges:
        story.merged.setdefault(int(names[survivor]), (int(names[gone]), apart))
        story.merged.setdefault(int(names[gone]), (int(names[survivor]), apart))
    kept = labels >= 0
    story.labels[kept] = names[target[np.searchsorted(names, labels[kept])]]
    story.labels, distances = offer(features, story.labels, limit.radius, pairs)
    story.moved = {row: float(distances[row]) for row in np.flatnonzero(~np.isnan(distances)).tolist()}
    before = after = _close(distance, never, limit.separation)
    if before:
        left = _compared(features, story.labels, frames)[2]
        after = _close(left, forbidden(tracklets, story.labels, pairs), limit.separation)
    story.close = before, after
    return story


def _compared(
    features: np.ndarray, labels: np.ndarray, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The identities of one video, sorted: their names, numbers of crops, and `contrast.distances`."""
    kept = labels >= 0
    names, groups, crops = np.unique(labels[kept], return_inverse=True, return_counts=True)
    order = np.argsort(groups, kind="stable")
    start = np.cumsum(crops) - crops
    first, last = (of.reduceat(frames[kept][order], start) if len(names) else crops for of in (np.minimum, np.maximum))
    centres = arrays.centroids(features[kept], groups, len(names))
    return names, crops, contrast.distances(centres, crops, first, last)


def _close(distance: np.ndarray, never: np.ndarray, separation: float) -> int:
    """How many pairs that may be one person are closer than the separation."""
    return int(np.triu((distance < separation) & ~never, 1).sum())


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
    cannot, limit, curves = settings.cannot_link, settings.thresholds("video"), {}
    if limit.radius is None:
        curves["radius"] = calibration.radius(crops, features, settings.false_link_rate)
    if limit.separation is None:
        curves["separation"] = calibration.separation(crops, features, labels, cannot)
    limit = replace(limit, **{kind: curve.threshold for kind, curve in curves.items()})
    out, kinds = labels.copy(), np.empty(len(labels), np.int8)
    others, distances = np.empty(len(labels), np.int64), np.empty(len(labels))
    before, after = Tally(limit), Tally(limit)
    tracklets, frames = crops.tracklet.to_numpy(np.int64), crops.frame.to_numpy(np.int64)
    for rows, pairs in _videos(crops, cannot):
        here, was = features[rows], labels[rows]
        story = one_video(tracklets[rows], frames[rows], here, was, limit, pairs)
        out[rows] = story.labels
        away = arrays.distances_to_others(here, story.labels)
        kinds[rows], others[rows], distances[rows] = _fate(story, away, was)
        before.spheres(was[was >= 0], arrays.distances_to_others(here, was)[was >= 0])
        after.spheres(story.labels[story.labels >= 0], away[story.labels >= 0])
        before.close, after.close = before.close + story.close[0], after.close + story.close[1]
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
    blocks = arrays.group_blocks(videos)
    for rows in track(blocks, "videos", "block") if len(blocks) > 1 else blocks:
        pairs = cannot_link.crop_pairs(crops.iloc[rows], cannot)
        begin = arrays.run_starts(videos[rows])
        for start, end in zip(begin, np.append(begin[1:], len(rows)), strict=True):
            yield rows[start:end], pairs[(start <= pairs[:, 0]) & (pairs[:, 0] < end)] - start


def _fate(story: _Story, away: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How every crop of one video fared: its kind, the identity to be named with it (-1: none), and its distance,
    which is the one `away` from its identity's other crops if it simply stayed."""
    kind, other, distance = np.full(len(before), KEPT), np.full(len(before), -1), away.astype(float)
    for name, (survivor, d) in story.merged.items():
        of = before == name
        kind[of], other[of], distance[of] = MERGED, survivor, d
    for row, d in story.moved.items():
        kind[row], other[row], distance[row] = MOVED, story.labels[row], d
    lost = story.labels < 0
    kind[lost], distance[lost] = HOMELESS, np.nan
    return kind, other, distance
