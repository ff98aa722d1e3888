"""Market-1501's protocol: CMC, mAP and mINP of a ranking. Pure: arrays in, arrays out.

A gallery image of the query's own person *and* camera is removed from its ranking, as is junk (person -1);
distractors (person 0) stay and are always wrong. A query with nothing right left in the gallery is excluded from
the means, as the common evaluation code (torchreid, fast-reid) does, and counted.

mAP is the mean over queries of the average of the precisions at each right image (Zheng et al., ICCV 2015, as
torchreid computes it: not the trapezoidal variant of the first MATLAB release). mINP is the mean of right images
over the rank of the hardest of them (Ye et al., "Deep Learning for Person Re-identification", TPAMI 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels

RANKS = (1, 5, 10)
CHUNK = 128  # queries ranked at a time: about 100 MB for a gallery of 20,000


@dataclass(frozen=True)
class Scores:
    """Per query: `ap` and `inp` (0..1), `first` (rank of the first right image); NaN, NaN, 0 if excluded."""

    ap: np.ndarray
    inp: np.ndarray
    first: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """Queries with something right to find, bool [Q]."""
        return self.first > 0

    def summary(self) -> dict[str, float]:
        """mAP, rank1, rank5, rank10 and mINP in percent over the valid queries; ValueError if there is none."""
        if not self.valid.any():
            raise ValueError("no query has a right image in the gallery")
        first = self.first[self.valid]
        cmc = {f"rank{rank}": 100 * float(np.mean(first <= rank)) for rank in RANKS}
        return {"mAP": 100 * float(np.nanmean(self.ap)), **cmc, "mINP": 100 * float(np.nanmean(self.inp))}


def cosine(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosine distances float32 [Q, G] of L2-normalised features [Q, D] and [G, D]."""
    return 1 - query @ gallery.T


def rank(distance: np.ndarray, query: Labels, gallery: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort each query's gallery, nearest first (ties in gallery order).

    `distance` [Q, G]. Returns, [Q, G] each: the gallery rows in order; `kept`, False for junk and for the query's
    own person under its own camera; `right`, True for its person among the kept.
    """
    order = np.argsort(distance, axis=1, kind="stable")
    person, camera = gallery.person[order], gallery.camera[order]
    same = person == query.person[:, None]
    kept = (person != JUNK) & ~(same & (camera == query.camera[:, None]))
    return order, kept, same & kept & (person > DISTRACTOR)


def score(distance: np.ndarray, query: Labels, gallery: Labels) -> Scores:
    """Scores of a few queries from their distances [Q, G] to the whole gallery."""
    _, kept, right = rank(distance, query, gallery)
    place = np.cumsum(kept, axis=1)  # rank from 1 among the kept
    found = np.cumsum(right, axis=1)
    total = found[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ap = np.sum(np.where(right, found / place, 0.0), axis=1) / total
        inp = total / np.max(np.where(right, place, 0), axis=1)
    places = np.where(right, place, distance.shape[1] + 1)
    return Scores(ap, inp, np.where(total > 0, places.min(axis=1), 0))


def chunks(n: int) -> Iterator[slice]:
    """Slices of at most CHUNK rows that cover 0..n."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def join(parts: list[Scores]) -> Scores:
    """One Scores of many chunks."""
    return Scores(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("ap", "inp", "first")))
