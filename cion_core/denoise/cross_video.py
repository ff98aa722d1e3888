"""Level 3: across videos, a Sliding Range over the sequence of identities and Linking Relations in it (DESIGN §4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import calibrate_links, cannot_link, noise, sliding, space
from cion_core.denoise.level import Level, ledger
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError
from cion_core.tables import ACTIONS

LINKINGS = ("reciprocal", "published")


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    labels: np.ndarray,
    limit: Noise = Noise(),
    linking: str = "reciprocal",
    size: int | None = None,
    stride: int | None = None,
    cannot: bool = True,
    centre: bool = True,
    false_link_rate: float = 0.05,
    saved: Path | None = None,
) -> Level:
    """Level 3: links identities of all videos; every crop that comes in stays.

    crops, features as `checks.checked` returns them; labels int64 [N] from level 2, -1 for crops without an identity
    (they stay without). linking "published": links centroids closer than the separation, in plain cosine distance;
    "reciprocal": average linkage on the k-reciprocal neighbourhoods of centroids less their video's mean (`centre`),
    in a space adapted to the footage, and the separation is a distance of neighbourhoods (`reciprocal.similarity`).
    size, stride: the Sliding Range, None: everything at once.
    """
    if linking not in LINKINGS:
        raise CionError(f"linking {linking!r}: must be one of {', '.join(LINKINGS)}")
    rows = np.flatnonzero(labels >= 0)
    order, names, video = sequence(crops.iloc[rows], labels[rows])
    groups = np.full(len(labels), -1)
    groups[rows] = np.argsort(order)[np.unique(labels[rows], return_inverse=True)[1]]
    points = noise.centroids(features, groups, len(names))
    pairs = cannot_link.crop_pairs(crops) if cannot else np.empty((0, 2), np.int64)
    forbidden = cannot_link.between(crops, labels, pairs)[order][:, order]
    if linking == "reciprocal":
        _, points = space.learnt(points, video, features, groups, forbidden, centre, size)
    curves = {}
    if limit.separation is None:
        calibration = calibrate_links.published if linking == "published" else calibrate_links.reciprocal
        first = slice(min(size or space.LEARN, space.LEARN))  # what one position holds is what the threshold must suit
        curves["separation"] = calibration(points[first], video[first], forbidden[first, first], false_link_rate)
        limit = Noise(limit.radius, curves["separation"].threshold)
    if linking == "published":
        linked = sliding.published(points, limit.separation, limit.radius, forbidden, size, stride)
    else:
        linked = sliding.link(points, 1 - limit.separation, forbidden, size, stride, limit.radius, saved)
    lowest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(lowest, linked.place, names)
    node = lowest[linked.place]
    out = labels.copy()
    out[rows] = node[groups[rows]]
    action, reason, distance = explained(names, node, linked.merges, limit, linking)
    of = groups[rows]
    cosine = Noise(limit.radius, limit.separation if linking == "published" else None)
    before = noise.measure(points, np.arange(len(names)), cosine, forbidden=forbidden)
    after = noise.measure(points, node, cosine, forbidden=cannot_link.between(crops, out, pairs))
    if linking == "reciprocal":
        before, after = (replace(m, close_pairs=n) for m, n in zip((before, after), linked.close, strict=True))
    return Level(
        name="cross_video",
        labels=out,
        ledger=ledger(crops.iloc[rows], "cross_video", action[of], reason[of], distance[of], labels[rows], out[rows]),
        noise=limit,
        before=replace(before, crops=len(rows)),
        after=replace(after, crops=len(rows)),
        calibration=curves,
    )


def sequence(crops: pd.DataFrame, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The identities of all videos as one long sequence: by video, and by when they are first seen in it.

    Returns their order among the sorted identities, and the identity and the video of each in that order, int [n].
    """
    names, groups = np.unique(labels, return_inverse=True)
    video, first = np.empty(len(names), np.int64), np.full(len(names), np.iinfo(np.int64).max)
    video[groups] = pd.factorize(crops.video, sort=True)[0]
    np.minimum.at(first, groups, crops.frame.to_numpy(np.int64))
    order = np.lexsort((names, first, video))
    return order, names[order], video[order]


def explained(
    before: np.ndarray, after: np.ndarray, merges: sliding.Merges, limit: Noise, linking: str
) -> tuple[pd.Categorical, pd.Categorical, np.ndarray]:
    """Action, reason and distance of every identity, from the first merge it took part in."""
    joined: dict[int, tuple[int, float]] = {}
    for i, j, distance in merges:
        joined.setdefault(i, (int(before[j]), distance))
        joined.setdefault(j, (int(before[i]), distance))
    what = "centroids" if linking == "published" else "neighbourhoods"
    near, reasons = f"{limit.separation:.3f}", []
    distances = np.full(len(before), np.nan)
    for node, (name, new) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        if node in joined:
            other, distances[node] = joined[node]
            why = f"linked with identity {other}: {what} {distances[node]:.3f} apart, below {near}"
            reasons.append(f"{why}; now identity {new}")
        else:
            reasons.append(f"identity {name}: no other within {near} may be the same")
    linked = np.isin(np.arange(len(before)), list(joined))
    action = pd.Categorical.from_codes(np.where(linked, ACTIONS.index("linked"), ACTIONS.index("kept")), ACTIONS)
    return action, pd.Categorical(reasons), distances
