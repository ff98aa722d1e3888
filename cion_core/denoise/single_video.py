"""Level 2: inside one video, merge identities that are too close and find a home for anomalous crops (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cion_core.denoise import calibrate, cannot_link, noise
from cion_core.denoise.level import Level, ledger
from cion_core.denoise.noise import Noise
from cion_core.denoise.tracklet import consistent


def merge(
    features: np.ndarray, labels: np.ndarray, separation: float, forbidden: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Merge the closest pair of identities until none is closer than `separation`; centroids are recomputed.

    Features float32 [N, D], labels int [N] (-1: none), forbidden bool [n, n] over the sorted identities. The lower
    number survives. Returns the new labels and the merges (survivor, merged, distance) in order.
    """
    names, groups = np.unique(labels[labels >= 0], return_inverse=True)
    total = noise.sums(features[labels >= 0], groups, len(names))
    centres = noise.unit(total)
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
        centres[i] = noise.unit(total[i : i + 1])[0]
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
    """Give each crop without an identity to the nearest one within `radius` that may take it, nearest crop first.

    pairs int [P, 2]: rows that show different people. refused: (row, identity) that are not tried again. Returns the
    new labels and the distance of each crop that found a home (NaN elsewhere).
    """
    out, distance = labels.copy(), np.full(len(labels), np.nan)
    names, groups = np.unique(labels[labels >= 0], return_inverse=True)
    loose = np.flatnonzero(labels < 0)
    if not len(names) or not len(loose):
        return out, distance
    d = 1 - features[loose] @ noise.centroids(features[labels >= 0], groups, len(names)).T
    rows, columns = np.nonzero(d <= radius)
    others: dict[int, list[int]] = {}
    for a, b in pairs.tolist():
        others.setdefault(a, []).append(b)
        others.setdefault(b, []).append(a)
    for k in np.lexsort((columns, rows, d[rows, columns])):
        row, name = int(loose[rows[k]]), int(names[columns[k]])
        taken = out[row] >= 0 or (row, name) in refused
        if not taken and all(out[other] != name for other in others.get(row, ())):
            out[row], distance[row] = name, max(float(d[rows[k], columns[k]]), 0.0)
    return out, distance


@dataclass
class _Story:
    """What happened in one video: the last word on each crop."""

    labels: np.ndarray
    merged: dict[int, tuple[int, float]] = field(default_factory=dict)  # identity -> its first merge
    moved: dict[int, float] = field(default_factory=dict)
    expelled: dict[int, float] = field(default_factory=dict)


def one_video(crops: pd.DataFrame, features: np.ndarray, labels: np.ndarray, limit: Noise, pairs: np.ndarray) -> _Story:
    """Merge, re-offer and re-apply consistency within one video until nothing changes.

    It ends: merges only get fewer, and a crop that consistency expels is not offered to that identity again.
    """
    story = _Story(labels.copy())
    refused: set[tuple[int, int]] = set()
    while True:
        before, tried = story.labels, len(refused)
        forbidden = cannot_link.between(crops, before, pairs).toarray()
        merged, merges = merge(features, before, limit.separation, forbidden)
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


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    labels: np.ndarray,
    limit: Noise = Noise(),
    cannot: bool = True,
    false_link_rate: float = 0.05,
) -> Level:
    """Level 2, every video by itself.

    crops, features as `checks.checked` returns them, all of level 1's input; labels int64 [N]: level 1's identities,
    -1 for its anomalous crops, which are offered again. A threshold of None is calibrated. cannot: people seen
    together are not merged.
    """
    curves = {}
    if limit.radius is None:
        curves["radius"] = calibrate.radius(crops, features, labels, false_link_rate)
    if limit.separation is None:
        curves["separation"] = calibrate.separation(crops, features, labels, false_link_rate)
    limit = Noise(*(curves[k].threshold if k in curves else getattr(limit, k) for k in ("radius", "separation")))
    videos = pd.factorize(crops.video)[0]
    pairs = cannot_link.crop_pairs(crops) if cannot else np.empty((0, 2), np.int64)
    out, actions = labels.copy(), np.full(len(labels), "kept", object)
    reasons, distances = np.full(len(labels), "", object), np.full(len(labels), np.nan)
    local = np.empty(len(labels), np.int64)
    for video in range(videos.max() + 1 if len(videos) else 0):
        rows = np.flatnonzero(videos == video)
        local[rows] = np.arange(len(rows))
        here = local[pairs[videos[pairs[:, 0]] == video]]
        story = one_video(crops.iloc[rows], features[rows], labels[rows], limit, here)
        out[rows] = story.labels
        actions[rows], reasons[rows], distances[rows] = _explain(story, features[rows], labels[rows], limit)
    forbidden = cannot_link.between(crops, labels, pairs), cannot_link.between(crops, out, pairs)
    return Level(
        name="video",
        labels=out,
        ledger=ledger(crops, "video", actions, reasons, distances, labels, out),
        noise=limit,
        before=noise.measure(features, labels, limit, videos, forbidden[0]),
        after=noise.measure(features, out, limit, videos, forbidden[1]),
        calibration=curves,
    )


def _explain(
    story: _Story, features: np.ndarray, before: np.ndarray, limit: Noise
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Action, reason and distance of every crop of one video."""
    names, groups = np.unique(story.labels, return_inverse=True)
    groups = np.where(story.labels < 0, -1, groups)
    own = noise.to_own(features, groups, noise.centroids(features, groups, len(names)))
    actions, reasons, distances = [], [], []
    for row, (was, now) in enumerate(zip(before.tolist(), story.labels.tolist(), strict=True)):
        d = float(own[row])
        if now < 0:
            action, d = "dropped", story.expelled.get(row, np.nan)
            reason = (
                f"no identity of its video within radius {limit.radius:.3f} may take it"
                if np.isnan(d)
                else f"{d:.3f} from its identity's centroid, beyond radius {limit.radius:.3f}"
            )
        elif row in story.moved:
            action, d = "moved", story.moved[row]
            reason = f"{d:.3f} from the centroid of identity {now}, within radius {limit.radius:.3f}"
        elif was in story.merged:
            other, d = story.merged[was]
            action = "merged"
            reason = f"merged with identity {other}: centroids {d:.3f} apart, below {limit.separation:.3f}"
        else:
            action, reason = "kept", f"{d:.3f} from its identity's centroid, within radius {limit.radius:.3f}"
        actions.append(action)
        reasons.append(reason)
        distances.append(d)
    return np.array(actions, object), np.array(reasons, object), np.array(distances)
