"""Thresholds inside a video, from the data alone: crops put into other tracklets, and how far chance brings strangers.

The knob is `rate`, the share of strange crops that is reckoned with even where none shows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise import contrast
from cion_core.denoise.cannot_link import between, crop_pairs
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.neighbours.arrays import BLOCK, centroids, distances_to_others, group_sums, run_starts, unit
from cion_core.neighbours.rows import Rows

SLACK = 1e-5  # beyond the sample that a threshold is read off, so that rounding does not decide on it
SAMPLE = 100_000  # crops that a threshold is read off: whole videos, for it is a matter of shares
KEPT = 3.0  # what a stranger kept costs, in crops lost: it stays in a centroid, a crop that is lost is one of many

# Distances of contrast, chosen in sight of real tracklets (../shared/data), the simulator and the demo.
MERGED, STRICT = 0.59, 0.4  # separation where merges are right, and where all that is close is so by chance
CHANCE = 0.6  # share of the close pairs that chance may seem to explain; it takes some who are one person for chance
CROWD = (2, 8)  # pairs per tracklet between which the tail of strangers is read: few of so many are one person


def sample(crops: pd.DataFrame) -> np.ndarray:
    """Rows of whole videos drawn at random, until they are SAMPLE crops; all where there are no more."""
    videos, names = pd.factorize(crops.video, sort=True)
    drawn = np.random.default_rng(0).permutation(len(names))
    before = np.cumsum(np.append(0, np.bincount(videos, minlength=len(names))[drawn]))[:-1]
    chosen = np.zeros(len(names), bool)
    chosen[drawn[before < SAMPLE]] = True
    return np.flatnonzero(chosen[videos])


def radius(crops: pd.DataFrame, features: np.ndarray | Rows, rate: float) -> Calibration:
    """The radius that keeps a tracklet's own crops and few of anybody else's.

    Positives: each crop's distance to the centroid of its tracklet's other crops. Negatives: the distance that it would
    have in the place of a crop drawn at random from the other tracklets of its video. Of many crops, those of `sample`
    alone.
    """
    rows = sample(crops)
    crops, features = crops.iloc[rows], features[rows]
    groups = np.unique(crops.tracklet.to_numpy(), return_inverse=True)[1]
    several = np.bincount(groups)[groups] > 1
    positives = np.sort(distances_to_others(features, groups)[several])
    if not len(positives):
        return Calibration(1.0, "no tracklet has two crops: nothing can be outside")
    negatives = np.sort(_exchanged(features, groups, pd.factorize(crops.video)[0], np.flatnonzero(several)))
    points = curve(positives, negatives)
    if len(negatives) < ENOUGH:
        found = float(np.quantile(positives, 1 - rate, method="higher"))
        rule = f"holds {1 - rate:.0%} of the crops: only {len(negatives)} could be put elsewhere, too few to ask more"
        return Calibration(found + SLACK, rule, len(positives), len(negatives), points)
    # How many crops are strangers: those that lie out where three quarters of all strangers do.
    strangers = np.mean(positives > np.quantile(negatives, 0.25)) / 0.75
    strangers = float(np.clip(strangers, rate, 0.5))
    held = np.arange(1, len(positives) + 1) / len(positives)
    foreign = np.searchsorted(negatives, positives, side="right") / len(negatives)
    # Least harm: own crops lost are the missing share of `held` less its strangers, foreign ones kept are the rest.
    best = int(np.argmax(held - (1 + KEPT) * strangers * foreign))
    rule = (
        f"least harm if {strangers:.1%} of the crops are strangers: "
        f"holds {held[best]:.1%} of the crops, and {foreign[best]:.1%} of other tracklets'"
    )
    return Calibration(float(positives[best]) + SLACK, rule, len(positives), len(negatives), points)


def _exchanged(features: np.ndarray, groups: np.ndarray, videos: np.ndarray, hosts: np.ndarray) -> np.ndarray:
    """The distance of each crop to the others of a group, had it changed places with one of the rows `hosts` of its
    video, drawn at random; float32, of crops that came to another group than their own."""
    total = group_sums(features, groups, groups.max() + 1)
    hosts = hosts[np.argsort(videos[hosts], kind="stable")]
    low, high = (np.searchsorted(videos[hosts], videos, side) for side in ("left", "right"))
    guest = np.flatnonzero(high > low)
    drawn = np.random.default_rng(0).random(len(videos))[guest]
    host = hosts[(low[guest] + drawn * (high - low)[guest]).astype(np.int64)]
    strange = groups[host] != groups[guest]
    guest, host = guest[strange], host[strange]
    out = np.empty(len(guest), np.float32)
    for start in range(0, len(guest), BLOCK):
        i, j = guest[start : start + BLOCK], host[start : start + BLOCK]
        out[start : start + BLOCK] = 1 - np.einsum("nd,nd->n", features[i], unit(total[groups[j]] - features[j]))
    return out


def separation(
    crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot: bool = True
) -> Calibration:
    """The separation of `contrast.distances` below which two identities of one video are one person.

    What is compared has no scale of its own, so that MERGED suits where people come again. Whether they do is read from
    the tail of strangers: the number of pairs that are so close, fitted where CROWD pairs per identity are (a parabola
    of its logarithm, which is the tail of a normal distribution), goes on to MERGED. As the share of the close pairs
    that it explains goes from CHANCE to all, the separation goes to STRICT, below which hardly any stranger comes; and
    so it does as the pairs get too few to tell.

    labels int64 [N]: the identity of each crop, here one tracklet each, -1 left out. cannot: leave out pairs of
    tracklets that were seen together. Of many crops, those of `sample` alone.
    """
    rows = sample(crops)
    rows = rows[labels[rows] >= 0]
    names, groups = np.unique(labels[rows], return_inverse=True)
    crops, features = crops.iloc[rows], features[rows]
    close = np.sort(np.concatenate([np.empty(0, np.float32), *_free(crops, features, groups, len(names), cannot)]))
    if not len(close):
        return Calibration(STRICT, "no two identities of a video may be one: nothing to merge")
    points = [
        {"threshold": round(float(t), 5), "pairs": round(float(np.mean(close < t)), 5)}
        for t in np.linspace(0, float(close.max()), 64)
    ]
    crowd = min(CROWD[1], 0.9 * len(close) / len(names))  # of small videos all but the least alike
    sure = min(crowd / CROWD[0] - 1, len(names) / (2 * ENOUGH), 1.0)
    if sure <= 0:
        rule = f"strict: {len(close)} pairs of {len(names)} tracklets are too few to see what chance brings together"
        return Calibration(STRICT, rule, 0, len(close), points)
    ranks = np.unique((np.linspace(CROWD[0], crowd, 20) * len(names)).astype(np.int64))
    fitted = np.polynomial.Polynomial.fit(close[ranks].astype(float), np.log(ranks + 1), min(2, len(ranks) - 1))
    found = int(np.searchsorted(close, MERGED))
    share = min(float(np.exp(fitted(MERGED))) / max(found, 1), 1.0)
    loose = sure * min((1 - share) / (1 - CHANCE), 1.0)
    rule = (
        f"{found / len(names):.2f} pairs per tracklet are closer than {MERGED}, of which chance may explain "
        f"{share:.0%}; {sure:.0%} sure, as there are {len(close)} pairs of {len(names)} tracklets"
    )
    return Calibration(STRICT + loose * (MERGED - STRICT), rule, 0, len(close), points)


def _free(crops: pd.DataFrame, features: np.ndarray, groups: np.ndarray, n: int, cannot: bool) -> list[np.ndarray]:
    """Of each video, the distances of the pairs of its groups (int [N], 0 to n - 1) that may be one person."""
    centres, size = centroids(features, groups, n), np.bincount(groups, minlength=n)
    frames = crops.frame.to_numpy(np.int64)
    first, last, videos = np.full(n, np.iinfo(np.int64).max), np.full(n, -1), np.empty(n, np.int64)
    np.minimum.at(first, groups, frames)
    np.maximum.at(last, groups, frames)
    videos[groups] = pd.factorize(crops.video)[0]
    never = between(crops, groups, crop_pairs(crops, cannot))
    order = np.argsort(videos, kind="stable")
    found = []
    for own in np.split(order, run_starts(videos[order])[1:]):
        i, j = np.triu_indices(len(own), 1)
        away = contrast.distances(centres[own], size[own], first[own], last[own])[i, j]
        found.append(away[~never[own][:, own].toarray()[i, j]])
    return found
