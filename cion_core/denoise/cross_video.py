"""Level 3: across videos, a Sliding Range over the sequence of identities and Linking Relations in it (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise import adapt, calibrate_links, cannot_link, linkage, noise, reciprocal
from cion_core.denoise.level import Level, ledger
from cion_core.denoise.noise import Noise
from cion_core.denoise.rows import Rows
from cion_core.errors import CionError
from cion_core.progress import track

ROUNDS, SURE = 3, 0.65  # rounds of linking to learn from, and the distance up to which they link
LEARN = 10_000  # identities that are learnt from
SHRINK = 5.0  # identities' worth of trust in the global mean against a video's own
LINKINGS = ("reciprocal", "published")
Merges = list[tuple[int, int, float]]


def centred(centres: np.ndarray, videos: np.ndarray, shrink: float = SHRINK) -> np.ndarray:
    """Centroids less their video's mean, which holds its background and colours; unit length, float32 [n, D].

    The mean is shrunk towards the global one as if `shrink` further identities sat there: the mean of few
    identities is those identities, and without them nothing would be left.
    """
    if not len(centres):
        return centres
    count = np.bincount(videos)
    own = noise.sums(centres, videos, len(count))
    mean = (own + shrink * centres.mean(0)) / (count + shrink)[:, None]
    return noise.unit(centres - mean[videos])


def footage_space(
    points: np.ndarray,
    videos: np.ndarray,
    features: np.ndarray | Rows,
    groups: np.ndarray,
    forbidden: sparse.csr_matrix,
    centre: bool = True,
    size: int | None = None,
) -> np.ndarray:
    """The centroids `points` where reciprocal linking compares them, float32 [n, D] of unit length.

    Less their video's mean (`centre`), and adapted: first to what varies inside identities (`groups` int [N] of
    `features`, -1: none), then to what varies between their surest links.
    """
    return learnt(adapt.adapted(centred(points, videos) if centre else points, features, groups), forbidden, size)


def learnt(points: np.ndarray, forbidden: sparse.csr_matrix, size: int | None = None) -> np.ndarray:
    """The points, adapted in ROUNDS: link what is surest, scale down what varies inside the links, and again.

    Learns from the first position of the Sliding Range `size`, or LEARN points of it.
    """
    first = slice(min(size or LEARN, LEARN))
    apart = forbidden[first, first]
    for _ in range(ROUNDS):
        part = points[first]
        label, _ = linkage.average(reciprocal.similarity(part, apart), 1 - SURE, apart)
        points = adapt.adapted(points, part, np.unique(label, return_inverse=True)[1])
    return points


def positions(n: int, size: int | None, stride: int | None) -> Iterator[np.ndarray]:
    """The Sliding Range: the nodes of each position, `size` at a time, moved on by `stride` (None: half the size).

    The last position ends with the sequence. size None, or at least n: one position of everything.
    """
    if size is None or size >= n:
        yield np.arange(n)
        return
    stride = stride or max(1, size // 2)
    if not 1 <= stride < size:
        raise CionError(f"stride {stride} must be at least 1 and below the Sliding Range {size}")
    starts = range(0, n - size + stride, stride)
    for start in starts:
        yield np.arange(min(start, n - size), min(start, n - size) + size)


def published(
    points: np.ndarray,
    separation: float,
    radius: float | None = None,
    forbidden: sparse.csr_matrix | None = None,
    size: int | None = None,
    stride: int | None = None,
) -> tuple[np.ndarray, Merges]:
    """Link every two points of one position closer than `separation`; what hangs together is one identity.

    points float32 [n, D] unit. Links are taken nearest first, and left out where the set would hold a forbidden pair
    or, if `radius` is given, a point farther than it from the set's centroid. Without both: connected components.
    Returns the lowest point of each point's set, int [n], and the links that joined two sets.
    """
    found = [
        np.stack([rows[i], rows[j], d], 1)
        for rows in positions(len(points), size, stride)
        for i, j, d in noise.close_pairs(points[rows], separation)
    ]
    relations = np.unique(np.concatenate([*found, np.empty((0, 3))]), axis=0)
    relations = relations[np.lexsort((relations[:, 1], relations[:, 0], relations[:, 2]))]
    return linkage.single(len(points), relations, forbidden, points, radius)


def link(
    points: np.ndarray,
    similar: float,
    forbidden: sparse.csr_matrix | None = None,
    size: int | None = None,
    stride: int | None = None,
    radius: float | None = None,
) -> tuple[np.ndarray, Merges, tuple[int, int]]:
    """Average linkage on the Jaccard similarity of k-reciprocal neighbourhoods, position by position.

    Each position goes on from the identities that earlier ones have linked, and joins two only if the mean
    similarity over all their members in the position is at least `similar` (and, if `radius` is given, none of
    their points in it is farther than that from their centroid). Returns as `published`, the distance of a merge
    being 1 - similarity, and how many pairs that may be one are that similar before and after.
    """
    n = len(points)
    label, merges, before, after = np.arange(n), [], 0, 0
    forbidden = forbidden if forbidden is not None else sparse.csr_matrix((n, n), dtype=bool)
    steps = list(positions(n, size, stride))
    for rows in track(steps, "Sliding Range", "position") if len(steps) > 1 else steps:
        pool = sparse.csr_matrix((np.ones(n), (label, np.arange(n))), shape=(n, n))
        apart = (pool @ forbidden @ pool.T).tocsr()[label[rows]][:, label[rows]]
        similarity = reciprocal.similarity(points[rows], forbidden[rows][:, rows])
        local, joined = linkage.average(similarity, similar, apart, label[rows], points[rows], radius)
        before += linkage.close(similarity, similar, apart, label[rows])
        after += linkage.close(similarity, similar, apart, local)
        own = label[rows]
        merges += [(*sorted((int(own[i]), int(own[j]))), 1 - s) for i, j, s in joined]
        lowest = np.full(len(rows), n)
        np.minimum.at(lowest, local, own)
        target = np.arange(n)
        target[own] = lowest[local]
        label = target[label]
    return label, merges, (before, after)


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
        points = footage_space(points, video, features, groups, forbidden, centre, size)
    curves = {}
    if limit.separation is None:
        calibration = calibrate_links.published if linking == "published" else calibrate_links.reciprocal
        first = slice(min(size or LEARN, LEARN))  # what one position holds is what the threshold must suit
        curves["separation"] = calibration(points[first], video[first], forbidden[first, first], false_link_rate)
        limit = Noise(limit.radius, curves["separation"].threshold)
    if linking == "published":
        place, merges = published(points, limit.separation, limit.radius, forbidden, size, stride)
    else:
        place, merges, close = link(points, 1 - limit.separation, forbidden, size, stride, limit.radius)
    lowest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(lowest, place, names)
    node = lowest[place]
    out = labels.copy()
    out[rows] = node[groups[rows]]
    told = [column[groups[rows]] for column in _explain(names, node, merges, limit, linking)]
    cosine = Noise(limit.radius, limit.separation if linking == "published" else None)
    before = noise.measure(points, np.arange(len(names)), cosine, forbidden=forbidden)
    after = noise.measure(points, node, cosine, forbidden=cannot_link.between(crops, out, pairs))
    if linking == "reciprocal":
        before, after = (replace(m, close_pairs=n) for m, n in zip((before, after), close, strict=True))
    return Level(
        name="cross_video",
        labels=out,
        ledger=ledger(crops.iloc[rows], "cross_video", *told, labels[rows], out[rows]),
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


def _explain(
    before: np.ndarray, after: np.ndarray, merges: Merges, limit: Noise, linking: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Action, reason and distance of every identity, from the first merge it took part in."""
    joined: dict[int, tuple[int, float]] = {}
    for i, j, distance in merges:
        joined.setdefault(i, (int(before[j]), distance))
        joined.setdefault(j, (int(before[i]), distance))
    what = "centroids" if linking == "published" else "neighbourhoods"
    rows = []
    for node, name in enumerate(before.tolist()):
        if node in joined:
            other, d = joined[node]
            why = f"linked with identity {other}: {what} {d:.3f} apart, below {limit.separation:.3f}"
            rows.append(("linked", f"{why}; now identity {after[node]}", d))
        else:
            rows.append(("kept", f"identity {name}: no other within {limit.separation:.3f} may be the same", np.nan))
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    actions, reasons, distances = columns
    return np.array(actions, object), np.array(reasons, object), np.array(distances, float)
