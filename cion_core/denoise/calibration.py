"""Thresholds inside a video, from the data: a tracklet is one person, two tracklets seen together are two people.

The knob is `rate`, the expected number of wrong decisions per tracklet that a user accepts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise.cannot_link import between, crop_pairs
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.neighbours.arrays import BLOCK, centroids, starts, sums, to_own, unit
from cion_core.neighbours.rows import Rows

WRONG_MERGES = 1 / 20  # share that may be expected to be wrong: linking across videos joins later what is left apart
SLACK = 1e-5  # beyond the sample that a threshold is read off, so that rounding does not decide on it
SAMPLE = 100_000  # crops that a threshold is read off: whole videos, for it is a matter of shares


def sample(crops: pd.DataFrame) -> np.ndarray:
    """Rows of whole videos drawn at random, until they are SAMPLE crops; all where there are no more."""
    videos, names = pd.factorize(crops.video, sort=True)
    drawn = np.random.default_rng(0).permutation(len(names))
    before = np.cumsum(np.append(0, np.bincount(videos, minlength=len(names))[drawn]))[:-1]
    chosen = np.zeros(len(names), bool)
    chosen[drawn[before < SAMPLE]] = True
    return np.flatnonzero(chosen[videos])


def radius(crops: pd.DataFrame, features: np.ndarray | Rows, rate: float, cannot: bool = True) -> Calibration:
    """The radius that keeps a tracklet's own crops and few of anybody else's.

    Positives: each crop's distance to its tracklet's centroid. Negatives: the distance it would have in the tracklets
    that it is seen together with; not `cannot`: none. Of many crops, those of `sample` alone.
    """
    rows = sample(crops)
    crops, features = crops.iloc[rows], features[rows]
    tracklets, groups = np.unique(crops.tracklet.to_numpy(), return_inverse=True)
    total = sums(features, groups, len(tracklets))
    several = np.bincount(groups)[groups] > 1
    positives = to_own(features, groups, unit(total))[several]
    pairs = crop_pairs(crops, cannot)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    negatives = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK):
        guest, host = pairs[start : start + BLOCK].T
        foreign = features[guest]  # put into that tracklet, where it would pull the centroid towards itself
        visited = unit(total[groups[host]] + foreign)
        negatives[start : start + BLOCK] = 1 - np.einsum("nd,nd->n", foreign, visited)
    if not len(positives):
        return Calibration(1.0, "no tracklet has two crops: nothing can be outside", 0, len(negatives))
    points = curve(positives, negatives, 1.0)
    if len(negatives) < ENOUGH:
        rule = f"holds {1 - rate:.0%} of the crops: only {len(negatives)} seen with others, too few to ask more"
        return Calibration(
            float(np.quantile(positives, 1 - rate, method="higher")) + SLACK,
            rule,
            len(positives),
            len(negatives),
            points,
        )
    positives, negatives = np.sort(positives), np.sort(negatives)
    # How many crops are strangers: those that lie out where three quarters of all strangers do.
    strangers = np.mean(positives > np.quantile(negatives, 0.25)) / 0.75
    strangers = float(np.clip(strangers, rate, 0.5))
    held = np.arange(1, len(positives) + 1) / len(positives)
    foreign = np.searchsorted(negatives, positives, side="right") / len(negatives)
    # Fewest errors: own crops lost are the missing share of `held` less its strangers, foreign ones kept are the rest.
    best = int(np.argmax(held - 2 * strangers * foreign))
    rule = (
        f"fewest errors if {strangers:.1%} of the crops are strangers: "
        f"holds {held[best]:.1%} of the crops, and {foreign[best]:.1%} of other people's"
    )
    return Calibration(float(positives[best]) + SLACK, rule, len(positives), len(negatives), points)


def separation(
    crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, rate: float, cannot: bool = True
) -> Calibration:
    """The largest separation inside one video with at most `rate` wrong merges per tracklet, and one
    wrong among twenty.

    `labels`: the identity of each crop, here one tracklet each, -1 left out. Negatives: tracklets seen together tell
    what share of strangers comes that close; it errs to the strict side, as people seen together get into each
    other's crops. Where negatives are few: as close as the two halves of a tracklet usually are, and closer than
    any negative; so it is, too, if they are not to be asked (`cannot`). Of many crops, those of `sample` alone.
    """
    rows = sample(crops)
    rows = rows[labels[rows] >= 0]
    names, groups = np.unique(labels[rows], return_inverse=True)
    if len(names) < 2:
        return Calibration(0.0, "fewer than two identities: nothing to merge", 0, 0)
    crops, features = crops.iloc[rows], features[rows]
    centres = centroids(features, groups, len(names))
    videos = np.empty(len(names), np.int64)
    videos[groups] = pd.factorize(crops.video)[0]
    strangers = between(crops, labels[rows], crop_pairs(crops, cannot))
    i, j = sparse.triu(strangers, 1).nonzero()
    negatives = np.sort(1 - np.einsum("nd,nd->n", centres[i], centres[j]))
    order = np.argsort(videos, kind="stable")
    inside = np.split(order, starts(videos[order])[1:])
    free = np.sort(np.concatenate([_free(centres, members, strangers) for members in inside]))
    positives = halves(features, groups, crops.frame.to_numpy())
    if not len(free):
        return Calibration(0.0, "no two identities of a video may be one: nothing to merge", 0, len(negatives))
    meets = len(free) / len(names)
    points = curve(positives, negatives, meets)
    if len(negatives) >= ENOUGH:
        nearer = np.searchsorted(negatives, free, side="right")
        wrong = (nearer + 1) / (len(negatives) + 1) * len(free)
        few = (wrong <= rate * len(names)) & (wrong <= WRONG_MERGES * np.arange(1, len(free) + 1))
        stop = np.append(np.flatnonzero(~few & (nearer > 0)), len(free))[0]  # too many strangers from here on
        near = free[:stop][few[:stop]]
        threshold = float(near[-1]) + SLACK if len(near) else 0.0
        rule = f"at most {rate:g} wrong merges expected per tracklet, by {len(negatives)} pairs seen together"
    else:
        threshold = float(min([*np.quantile(positives, [0.5]), *0.9 * negatives[:1]])) if len(positives) else 0.0
        rule = f"as close as halves of a tracklet are: only {len(negatives)} pairs are seen together, too few to count"
    return Calibration(max(threshold, 0.0), rule, len(positives), len(negatives), points)


def _free(centres: np.ndarray, members: np.ndarray, strangers: sparse.csr_matrix) -> np.ndarray:
    """Distances of the pairs of `members` that may be one person."""
    if len(members) < 2:
        return np.empty(0, np.float32)
    i, j = np.triu_indices(len(members), 1)
    distances = (1 - centres[members] @ centres[members].T)[i, j]
    return distances[~strangers[members][:, members].toarray()[i, j]]


def halves(features: np.ndarray, groups: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Distance between the centroids of the first and the second half of each group of at least 4 samples."""
    order = np.lexsort((frames, groups))
    sizes = np.bincount(groups)
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    second = rank >= sizes[groups] // 2
    n = len(sizes)
    first, last = (centroids(features, np.where(side, groups, -1), n) for side in (~second, second))
    return (1 - np.einsum("nd,nd->n", first, last))[sizes >= 4]
