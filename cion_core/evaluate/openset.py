"""Open-set search: is this person in the gallery at all, and if so, who is it?

Each query is searched twice. In its *mated* search the person is in the gallery, under other
cameras (images of the person under the query's own camera are removed, as for mAP). In its
*non-mated* search every image of the person is taken out, so that whoever is found is wrong. Junk
is in neither; distractors are in both. A system answers with the nearest image where that is nearer
than a threshold t, else with "nobody". Then, in the terms of NIST's 1:N tests (Grother, Ngan &
Hanaoka, "Face Recognition Vendor Test Part 2: Identification", NISTIR 8271, 2019, section 3; IREX
has the same):

- FPIR(t), false positive identification rate: the share of non-mated searches that do not answer
  "nobody".
- TPIR(t), true positive identification rate, 1 - FNIR(N, R, t): the share of mated searches that
  answer rightly. Rank 1 is demanded (R = 1): the nearest image must be right *and* nearer than t.
  An equally near wrong image makes it wrong. NIST's own "identification mode" asks only that the
  right image is nearer than t. With rank 1 it is the *detection and identification rate* of
  Phillips, Grother & Micheals (Handbook of Face Recognition, 2005), which at FPIR 100 % is rank-1
  of the CMC.

Beside it the *verification* rates of all kept pairs of a query and a gallery image: TAR(t) and
FAR(t), the shares of right and of wrong pairs that are nearer than t.

Give it plain distances: re-ranked ones are made with the person in the gallery, whom a non-mated
search must not know. Pure: arrays in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels
from cion_core.evaluate.metrics import DistanceRows, query_chunks

# Percent, at which TPIR is told.
FPIRS = (0.1, 1.0, 10.0)
# Percent, at which TAR is told.
FARS = (0.001, 0.01, 0.1)
# A rate is told where it is of at least so many errors: their number is then known within a third
# or so.
ALARMS = 10
# Points of a curve, at most.
POINTS = 200
# Bins of distances 0..2, for the verification rates: they are exact every 3e-5.
BINS = 1 << 16
# So that an allowed count that is whole but for rounding is not cut down by one.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Searches:
    """What open-set rates need of an evaluation.

    Args:
        right: float32 [Q], the distance of each query to its nearest right image; infinite where
            there is none.
        wrong: float32 [Q], to the nearest image of somebody else; infinite where there is none.
        genuine: int64 [BINS], how many right pairs lie in each bin of distance.
        impostor: int64 [BINS], how many wrong pairs do.
    """

    right: np.ndarray
    wrong: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray


def search(distances: DistanceRows, query: Labels, gallery: Labels) -> Searches:
    """Search for each query, in one pass over the distances.

    A chunk of queries is in memory at a time. Distances outside 0..2, where cosine distances end,
    count in the first and the last bin.

    Args:
        distances: of the queries to the gallery.
        query: of the queries.
        gallery: of the gallery images.
    """
    images_of_person = _images_of_people(gallery)
    junk = np.flatnonzero(gallery.person == JUNK)
    no_images = np.empty(0, np.int64)
    right, wrong = np.full((2, len(query)), np.inf, np.float32)
    genuine, impostor = np.zeros((2, BINS), np.int64)
    for rows in query_chunks(len(query)):
        # A copy, for what is taken out of it becomes infinite.
        others = np.array(distances[rows])
        others[:, junk] = np.inf
        right_distances = []
        for place, row in enumerate(range(rows.start, rows.stop)):
            own = images_of_person.get(int(query.person[row]), no_images)
            is_other_camera = gallery.camera[own] != query.camera[row]
            under_other_camera = own[is_other_camera]
            of_right = others[place, under_other_camera]
            right_distances.append(of_right)
            right[row] = of_right.min(initial=np.inf)
            others[place, own] = np.inf
        wrong[rows] = others.min(axis=1, initial=np.inf)
        genuine += _count_in_bins(np.concatenate(right_distances))
        impostor += _count_in_bins(others)
    return Searches(right, wrong, genuine, impostor)


def identification(searches: Searches) -> dict:
    """TPIR against FPIR, in percent, ready for JSON.

    Returns:
        `mated`, `nonmated`: how many searches; `at`: [{fpir, tpir, threshold}], one for each of
        FPIRS, with the largest threshold that keeps to it, `tpir` and `threshold` None where less
        than ALARMS false alarms would decide; `curve`: at most POINTS of {fpir, tpir, threshold},
        evenly spread over log FPIR, the last without a threshold (None).

    Raises:
        ValueError: no query has a right image.
    """
    mated = np.isfinite(searches.right)
    if not mated.any():
        raise ValueError("no query has a right image in the gallery")
    mated_count = int(mated.sum())
    wrong = np.sort(searches.wrong)
    is_hit = mated & (searches.right < searches.wrong)
    hits = np.sort(searches.right[is_hit])

    def rates_at(threshold: float) -> dict[str, float | None]:
        false_alarms = float(np.searchsorted(wrong, threshold))
        right_answers = float(np.searchsorted(hits, threshold))
        return {
            "fpir": 100 * false_alarms / len(wrong),
            "tpir": 100 * right_answers / mated_count,
            "threshold": float(threshold) if np.isfinite(threshold) else None,
        }

    rates = []
    for fpir in FPIRS:
        alarms = int(fpir / 100 * len(wrong) + ROUNDING)
        rate = {"tpir": None, "threshold": None}
        if alarms >= ALARMS:
            rate = rates_at(wrong[alarms])
        rates.append({**rate, "fpir": fpir})

    # With the threshold at the k-th nearest wrong image (from 0), k of them are nearer: fewer,
    # where some are as near.
    even_steps = np.geomspace(1, len(wrong), POINTS)
    alarms_allowed = np.unique(even_steps.astype(int))[:-1]
    thresholds = np.unique([*wrong[alarms_allowed], np.inf])
    curve = [rates_at(threshold) for threshold in thresholds]
    return {"mated": mated_count, "nonmated": len(wrong), "at": rates, "curve": curve}


def verification(searches: Searches) -> dict:
    """TAR at FAR, in percent, over all kept pairs, ready for JSON.

    Returns:
        `right`, `wrong`: how many pairs; `at`: [{far, tar, threshold}], one for each of FARS, at
        the largest edge of a bin that keeps to it, `tar` and `threshold` None where less than
        ALARMS wrong pairs would decide.

    Raises:
        ValueError: no query has a right image.
    """
    edges = np.linspace(0, 2, BINS + 1)
    # How many pairs are nearer than each edge.
    right_below = np.concatenate(([0], np.cumsum(searches.genuine)))
    wrong_below = np.concatenate(([0], np.cumsum(searches.impostor)))
    right, wrong = int(right_below[-1]), int(wrong_below[-1])
    if not right:
        raise ValueError("no query has a right image in the gallery")

    rates = []
    for far in FARS:
        allowed = far / 100 * wrong + ROUNDING
        rate = {"tar": None, "threshold": None}
        if allowed >= ALARMS:
            edge = int(np.searchsorted(wrong_below, allowed, side="right")) - 1
            accepted = int(right_below[edge])
            rate = {"tar": 100 * accepted / right, "threshold": float(edges[edge])}
        rates.append({"far": far, **rate})
    return {"right": right, "wrong": wrong, "at": rates}


def _images_of_people(gallery: Labels) -> dict[int, np.ndarray]:
    """The gallery rows of each person; distractors and junk are nobody's."""
    order = np.argsort(gallery.person, kind="stable")
    people, starts = np.unique(gallery.person[order], return_index=True)
    parts = zip(people.tolist(), np.split(order, starts[1:]), strict=True)
    return {person: rows for person, rows in parts if person > DISTRACTOR}


def _count_in_bins(distances: np.ndarray) -> np.ndarray:
    """How many of the finite distances lie in each bin, int64 [BINS]."""
    finite = distances[np.isfinite(distances)]
    place = finite * (BINS / 2)
    bins = np.clip(place, 0, BINS - 1).astype(np.intp)
    return np.bincount(bins, minlength=BINS)
