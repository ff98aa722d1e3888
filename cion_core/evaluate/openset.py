"""Open-set search: is this person in the gallery at all, and if so, who is it? Pure: arrays in, arrays out.

Each query is searched twice. In its *mated* search the person is in the gallery, under other cameras (images of the
person under the query's own camera are removed, as for mAP). In its *non-mated* search every image of the person is
taken out, so that whoever is found is wrong. Junk is in neither; distractors are in both. A system answers with the
nearest image where that is nearer than a threshold t, else with "nobody". Then, in the terms of NIST's 1:N tests
(Grother, Ngan & Hanaoka, "Face Recognition Vendor Test Part 2: Identification", NISTIR 8271, 2019, §3; IREX has the
same):

- FPIR(t), false positive identification rate: the share of non-mated searches that do not answer "nobody".
- TPIR(t), true positive identification rate, 1 - FNIR(N, R, t): the share of mated searches that answer rightly. Rank 1
  is demanded (R = 1): the nearest image must be right *and* nearer than t. An equally near wrong image makes it wrong.
  NIST's own "identification mode" asks only that the right image is nearer than t. With rank 1 it is the
  *detection and identification rate* of Phillips, Grother & Micheals (Handbook of Face Recognition, 2005), which at
  FPIR 100 % is rank-1 of the CMC.

Beside it the *verification* rates of all kept pairs of a query and a gallery image: TAR(t) and FAR(t), the shares of
right and of wrong pairs that are nearer than t.

Give it plain distances: re-ranked ones are made with the person in the gallery, whom a non-mated search must not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels
from cion_core.evaluate.metrics import chunks

FPIRS = (0.1, 1.0, 10.0)  # percent, at which TPIR is told
FARS = (0.001, 0.01, 0.1)  # percent, at which TAR is told
ALARMS = 10  # a rate is told where it is of at least so many errors: their number is then known within a third or so
POINTS = 200  # of a curve, at most
BINS = 1 << 16  # of distances 0..2, for the verification rates: they are exact every 3e-5


class Rows(Protocol):
    """Whatever gives the distances float32 [q, G] of some query rows to the whole gallery."""

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Searches:
    """What open-set rates need of an evaluation.

    Attributes:
        right: distance of each query to its nearest right image, float32 [Q]; infinite where there is none.
        wrong: distance of each query to the nearest image of somebody else, float32 [Q]; infinite where there is none.
        genuine: how many right pairs lie in each of BINS of distance, int64 [BINS].
        impostor: how many wrong pairs do, int64 [BINS].
    """

    right: np.ndarray
    wrong: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray


def search(distances: Rows, query: Labels, gallery: Labels) -> Searches:
    """One pass over the distances of `query` [Q] to `gallery` [G], a chunk of queries in memory at a time.

    Distances outside 0..2, where cosine distances end, count in the first and the last bin.
    """
    images = _images_of(gallery)
    junk = np.flatnonzero(gallery.person == JUNK)
    nobody = np.empty(0, np.int64)
    right, wrong = np.full((2, len(query)), np.inf, np.float32)
    genuine, impostor = np.zeros((2, BINS), np.int64)
    for rows in chunks(len(query)):
        others = np.array(distances[rows])  # a copy: whose rows they are is not said
        others[:, junk] = np.inf
        pairs = []
        for i, row in enumerate(range(rows.start, rows.stop)):
            own = images.get(int(query.person[row]), nobody)
            pairs.append(others[i, own[gallery.camera[own] != query.camera[row]]])
            right[row] = pairs[-1].min(initial=np.inf)
            others[i, own] = np.inf
        wrong[rows] = others.min(axis=1, initial=np.inf)
        genuine += _binned(np.concatenate(pairs))
        impostor += _binned(others)
    return Searches(right, wrong, genuine, impostor)


def identification(searches: Searches) -> dict:
    """TPIR against FPIR, in percent, ready for JSON.

    Returns {mated, nonmated: how many searches; at: [{fpir, tpir, threshold}], one for each of FPIRS, with the largest
    threshold that keeps to it, `tpir` and `threshold` None where less than ALARMS false alarms would decide; curve:
    at most POINTS of {fpir, tpir, threshold}, evenly spread over log FPIR, the last without a threshold (None)}.
    ValueError where no query has a right image.
    """
    mated, wrong = np.isfinite(searches.right), np.sort(searches.wrong)
    if not mated.any():
        raise ValueError("no query has a right image in the gallery")
    hits = np.sort(searches.right[mated & (searches.right < searches.wrong)])

    def point(threshold: float) -> dict[str, float | None]:
        return {
            "fpir": 100 * float(np.searchsorted(wrong, threshold)) / len(wrong),
            "tpir": 100 * float(np.searchsorted(hits, threshold)) / int(mated.sum()),
            "threshold": float(threshold) if np.isfinite(threshold) else None,
        }

    at = []
    for fpir in FPIRS:
        alarms = int(fpir / 100 * len(wrong) + 1e-9)
        told = point(wrong[alarms]) if alarms >= ALARMS else {"tpir": None, "threshold": None}
        at.append({**told, "fpir": fpir})
    # With the threshold at the k-th nearest wrong image (from 0), k of them are nearer: fewer, where some are as near.
    steps = np.unique(np.geomspace(1, len(wrong), POINTS).astype(int))
    thresholds = np.unique([*wrong[steps[:-1]], np.inf])
    curve = [point(threshold) for threshold in thresholds]
    return {"mated": int(mated.sum()), "nonmated": len(wrong), "at": at, "curve": curve}


def verification(searches: Searches) -> dict:
    """TAR at FAR, in percent, over all kept pairs, ready for JSON.

    Returns {right, wrong: how many pairs; at: [{far, tar, threshold}], one for each of FARS, at the largest edge of a
    bin that keeps to it, `tar` and `threshold` None where less than ALARMS wrong pairs would decide}. ValueError where
    no query has a right image.
    """
    edges = np.linspace(0, 2, BINS + 1)
    nearer = {
        name: np.concatenate(([0], np.cumsum(counts)))
        for name, counts in (("right", searches.genuine), ("wrong", searches.impostor))
    }
    right, wrong = (int(nearer[name][-1]) for name in ("right", "wrong"))
    if not right:
        raise ValueError("no query has a right image in the gallery")
    at = []
    for far in FARS:
        allowed = far / 100 * wrong + 1e-9
        edge = int(np.searchsorted(nearer["wrong"], allowed, side="right")) - 1
        told = {"tar": 100 * int(nearer["right"][edge]) / right, "threshold": float(edges[edge])}
        at.append({"far": far, **(told if allowed >= ALARMS else dict.fromkeys(told))})
    return {"right": right, "wrong": wrong, "at": at}


def _images_of(gallery: Labels) -> dict[int, np.ndarray]:
    """The gallery rows of each person; distractors and junk are nobody's."""
    order = np.argsort(gallery.person, kind="stable")
    people, starts = np.unique(gallery.person[order], return_index=True)
    parts = zip(people.tolist(), np.split(order, starts[1:]), strict=True)
    return {person: rows for person, rows in parts if person > DISTRACTOR}


def _binned(distances: np.ndarray) -> np.ndarray:
    """How many of the finite distances lie in each bin, int64 [BINS]."""
    finite = distances[np.isfinite(distances)]
    return np.bincount(np.clip(finite * (BINS / 2), 0, BINS - 1).astype(np.intp), minlength=BINS)
