"""Thresholds inside a video, from the data alone.

The radius: crops are put into other tracklets, and a radius is chosen that keeps few of them there.
The separation: a distance is chosen that chance brings few strangers below.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise import contrast
from cion_core.denoise.cannot_link import crop_pairs, forbidden_pairs
from cion_core.denoise.linking.calibration import ENOUGH, POINTS, Calibration, curve
from cion_core.neighbours.arrays import (
    BLOCK,
    centroids,
    distances_to_others,
    group_sums,
    run_starts,
    unit,
)
from cion_core.neighbours.rows import Rows

# Beyond the sample that a threshold is read off, so that rounding does not decide on it.
SLACK = 1e-5
# Crops that a threshold is read off: whole videos, for it is a matter of shares.
SAMPLE = 100_000
# What a stranger that is kept costs, in crops lost: it stays in a centroid; a lost crop is one of
# many.
COST_OF_STRANGER = 3.0
# Strangers in tracklets are counted where this share of all strangers lies.
COUNTED = 0.75

# The separation where merges are right, and where all that is close is so by chance: distances of
# contrast, chosen in sight of real tracklets, the simulator and the demo.
LOOSE, STRICT = 0.59, 0.4
# The share of the close pairs that chance may seem to explain; it takes some who are one person for
# chance.
CHANCE = 0.6
# The tail of strangers is read where there are so many pairs per tracklet, from and to: few of so
# many pairs are one person.
TAIL_FROM, TAIL_TO = 2, 8


def sample_videos(crops: pd.DataFrame) -> np.ndarray:
    """Draw whole videos at random until they have SAMPLE crops.

    Returns:
        Rows, int64, ascending; all where there are no more.
    """
    videos, names = pd.factorize(crops.video, sort=True)
    rng = np.random.default_rng(0)
    drawn = rng.permutation(len(names))
    size = np.bincount(videos, minlength=len(names))
    crops_before = np.cumsum(np.append(0, size[drawn]))[:-1]
    is_chosen = np.zeros(len(names), bool)
    is_chosen[drawn[crops_before < SAMPLE]] = True
    return np.flatnonzero(is_chosen[videos])


def find_radius(crops: pd.DataFrame, features: np.ndarray | Rows, rate: float) -> Calibration:
    """The radius that keeps a tracklet's own crops and few of anybody else's.

    Positives: each crop's distance to the centroid of its tracklet's other crops. Negatives: the
    distance that it would have in the place of a crop drawn at random from the other tracklets of
    its video. Of many crops, those of `sample_videos` alone.

    Args:
        crops: with video and tracklet.
        features: float32 [N, D], unit length.
        rate: the least share of strange crops that is reckoned with (`false_link_rate` in
            `Settings`).
    """
    rows = sample_videos(crops)
    crops, features = crops.iloc[rows], features[rows]
    groups = np.unique(crops.tracklet.to_numpy(), return_inverse=True)[1]
    size = np.bincount(groups)
    has_others = size[groups] > 1
    distances = distances_to_others(features, groups)
    positives = np.sort(distances[has_others])
    if not len(positives):
        return Calibration(1.0, "no tracklet has two crops: nothing can be outside")
    videos = pd.factorize(crops.video)[0]
    hosts = np.flatnonzero(has_others)
    negatives = np.sort(_distances_in_other_places(features, groups, videos, hosts))
    points = curve(positives, negatives)
    if len(negatives) < ENOUGH:
        found = float(np.quantile(positives, 1 - rate, method="higher"))
        how = (
            f"holds {1 - rate:.0%} of the crops: only {len(negatives)} could be put elsewhere, too "
            "few to ask more"
        )
        return Calibration(found + SLACK, how, len(positives), len(negatives), points)

    # How many crops are strangers: those that lie out where COUNTED of all strangers do.
    far_out = np.quantile(negatives, 1 - COUNTED)
    share_far_out = np.mean(positives > far_out)
    strangers = float(np.clip(share_far_out / COUNTED, rate, 0.5))

    # At each positive as radius: the share of crops that it holds, and of other tracklets' crops.
    count = len(positives)
    held = np.arange(1, count + 1) / count
    foreign = np.searchsorted(negatives, positives, side="right") / len(negatives)
    # Of all crops, `strangers * foreign` are strangers that stay. Harm: own crops lost, plus
    # COST_OF_STRANGER for each of these.
    harm_of_foreign = (1 + COST_OF_STRANGER) * strangers
    best = int(np.argmax(held - harm_of_foreign * foreign))
    how = (
        f"least harm if {strangers:.1%} of the crops are strangers: "
        f"holds {held[best]:.1%} of the crops, and {foreign[best]:.1%} of other tracklets'"
    )
    found = float(positives[best])
    return Calibration(found + SLACK, how, count, len(negatives), points)


def _distances_in_other_places(
    features: np.ndarray, groups: np.ndarray, videos: np.ndarray, hosts: np.ndarray
) -> np.ndarray:
    """How far crops would be from another group, had they changed places with one of its crops.

    Args:
        features: float32 [N, D].
        groups: int [N].
        videos: int [N].
        hosts: int, rows that a place is drawn from, in the crop's own video.

    Returns:
        float32, of the crops that came to another group than their own.
    """
    total = group_sums(features, groups, groups.max() + 1)

    # The hosts of a video are a stretch of the hosts sorted by video.
    hosts = hosts[np.argsort(videos[hosts], kind="stable")]
    video_of_host = videos[hosts]
    low = np.searchsorted(video_of_host, videos, "left")
    high = np.searchsorted(video_of_host, videos, "right")
    guest = np.flatnonzero(high > low)
    rng = np.random.default_rng(0)
    drawn = rng.random(len(videos))[guest]
    choice = (high - low)[guest]
    place = (low[guest] + drawn * choice).astype(np.int64)
    host = hosts[place]
    strange = groups[host] != groups[guest]
    guest, host = guest[strange], host[strange]

    distance = np.empty(len(guest), np.float32)
    for start in range(0, len(guest), BLOCK):
        block = slice(start, start + BLOCK)
        i, j = guest[block], host[block]
        without_host = unit(total[groups[j]] - features[j])
        cosine = np.einsum("nd,nd->n", features[i], without_host)
        distance[block] = 1 - cosine
    return distance


def find_separation(
    crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot_link: bool = True
) -> Calibration:
    """The distance of contrast below which two identities of one video are one person.

    What is compared has no scale of its own, so that LOOSE suits where people come again. Whether
    they do is read from the tail of strangers. Where TAIL_FROM to TAIL_TO pairs per identity are
    closer than a distance, the logarithm of their number is fitted by a parabola (the tail of a
    normal distribution), and the parabola is followed down to LOOSE. It says how many of the pairs
    below LOOSE are close by chance. As their share goes from CHANCE to all, the separation goes
    from LOOSE to STRICT, below which hardly any stranger comes; and so it does as the pairs get
    too few to tell.

    Args:
        crops: with video, frame and tracklet.
        features: float32 [N, D], unit length.
        labels: int64 [N], the identity of each crop, here one tracklet each; -1: left out.
        cannot_link: leave out pairs of tracklets that were seen together.

    Returns:
        Of many crops, by those of `sample_videos` alone.
    """
    rows = sample_videos(crops)
    rows = rows[labels[rows] >= 0]
    identities, groups = np.unique(labels[rows], return_inverse=True)
    count = len(identities)
    per_video = _distances_of_pairs(crops.iloc[rows], features[rows], groups, count, cannot_link)
    close = np.sort(np.concatenate([np.empty(0, np.float32), *per_video]))
    pairs = len(close)
    if not pairs:
        return Calibration(STRICT, "no two identities of a video may be one: nothing to merge")
    points = [
        {"threshold": round(float(at), 5), "pairs": round(float(np.mean(close < at)), 5)}
        for at in np.linspace(0, float(close.max()), POINTS)
    ]

    # Step 1: how much there is to see: of small videos all pairs but the least alike.
    tail_to = min(TAIL_TO, 0.9 * pairs / count)
    reliance = min(tail_to / TAIL_FROM - 1, count / (2 * ENOUGH), 1.0)
    if reliance <= 0:
        how = (
            f"strict: {pairs} pairs of {count} tracklets are too few to see what chance "
            "brings together"
        )
        return Calibration(STRICT, how, 0, pairs, points)

    # Step 2: how many pairs below LOOSE the tail of strangers explains.
    per_identity = np.linspace(TAIL_FROM, tail_to, 20)
    ranks = np.unique((per_identity * count).astype(np.int64))
    degree = min(2, len(ranks) - 1)
    distances = close[ranks].astype(float)
    tail = np.polynomial.Polynomial.fit(distances, np.log(ranks + 1), degree)
    explained = float(np.exp(tail(LOOSE)))

    # Step 3: the larger their share, the stricter.
    found = int(np.searchsorted(close, LOOSE))
    by_chance = min(explained / max(found, 1), 1.0)
    not_by_chance = (1 - by_chance) / (1 - CHANCE)
    looseness = reliance * min(not_by_chance, 1.0)
    how = (
        f"{found / count:.2f} pairs per tracklet are closer than {LOOSE}, of which chance "
        f"may explain {by_chance:.0%}; {reliance:.0%} sure, as there are {pairs} pairs of "
        f"{count} tracklets"
    )
    return Calibration(STRICT + looseness * (LOOSE - STRICT), how, 0, pairs, points)


def _distances_of_pairs(
    crops: pd.DataFrame, features: np.ndarray, groups: np.ndarray, count: int, cannot_link: bool
) -> list[np.ndarray]:
    """Of each video, the distances of the pairs of its groups that may be one person.

    Args:
        crops: with video, frame and tracklet.
        features: float32 [N, D].
        groups: int [N], from 0 to count - 1.
        count: how many groups there are.
        cannot_link: leave out pairs that were seen together.
    """
    centres = centroids(features, groups, count)
    size = np.bincount(groups, minlength=count)
    frames = crops.frame.to_numpy(np.int64)
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, -1)
    np.minimum.at(first, groups, frames)
    np.maximum.at(last, groups, frames)
    videos = np.empty(count, np.int64)
    videos[groups] = pd.factorize(crops.video)[0]
    forbidden = forbidden_pairs(crops, groups, crop_pairs(crops, cannot_link))

    order = np.argsort(videos, kind="stable")
    found = []
    video_starts = run_starts(videos[order])
    for own in np.split(order, video_starts[1:]):
        i, j = np.triu_indices(len(own), 1)
        distances = contrast.distances(centres[own], size[own], first[own], last[own])
        is_forbidden = forbidden[own][:, own].toarray()
        may_be_one = ~is_forbidden[i, j]
        found.append(distances[i, j][may_be_one])
    return found
