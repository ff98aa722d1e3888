"""Market-1501's protocol: CMC, mAP and mINP of a ranking. Pure: arrays in, arrays out.

A gallery image of the query's own person *and* camera is removed from its ranking, as is junk
(person -1); distractors (person 0) stay and are always wrong. A query is *findable* if something
right is left in the gallery. Others are left out of the means, as the common evaluation code does
(torchreid, fast-reid), and counted.

mAP is the mean over queries of the average of the precisions at each right image (Zheng et al.,
ICCV 2015, as torchreid computes it: not the trapezoidal variant of the first MATLAB release). mINP
is the mean of right images over the rank of the hardest of them (Ye et al., "Deep Learning for
Person Re-identification", TPAMI 2022).

Worked example: a query's right images stand at ranks 1 and 4. The precisions there are 1/1 and 2/4,
so AP = (1 + 0.5) / 2 = 0.75; INP = 2 right images / rank 4 of the hardest = 0.5; the first is at
rank 1.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels

RANKS = (1, 5, 10)
METRICS = ("mAP", *(f"rank{rank}" for rank in RANKS), "mINP")
# Queries compared with the gallery at a time: 168 MB for a gallery of 82,161 images.
CHUNK = 512
# Queries that a thread scores at a time: their distances stay in a processor's cache.
PIECE = 8


class DistanceRows(Protocol):
    """Whatever gives the distances float32 [q, G] of some query rows to the whole gallery."""

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Scores:
    """What each query scored; `scores[rows]` are those of some queries.

    To add a score: a field here, its place in `by_metric` and in METRICS, its value in
    `scores_from_ranks`, its column in `tables.Queries`, and its line in `report.comparison.SCORES`,
    which shows it.

    Args:
        ap: float64 [Q], 0..1; NaN if the query is not findable.
        inp: float64 [Q], 0..1; NaN if the query is not findable.
        first: int64 [Q], the rank of the first right image, from 1; 0 if the query is not findable.
    """

    ap: np.ndarray
    inp: np.ndarray
    first: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Scores:
        return Scores(**{name: values[rows] for name, values in vars(self).items()})

    @property
    def findable(self) -> np.ndarray:
        """Queries with something right to find, bool [Q]."""
        return self.first > 0

    def by_metric(self) -> dict[str, np.ndarray]:
        """What each query adds to the mean of each of METRICS.

        Returns:
            float64 [Q], 0..1, by metric; NaN for queries that are not findable.

        Raises:
            ValueError: no query is findable.
        """
        if not self.findable.any():
            raise ValueError("no query has a right image in the gallery")
        found_by = [np.where(self.findable, self.first <= rank, np.nan) for rank in RANKS]
        columns = self.ap, *found_by, self.inp
        return dict(zip(METRICS, columns, strict=True))

    def summary(self) -> dict[str, float]:
        """The mean of each of METRICS over the findable queries, in percent.

        Raises:
            ValueError: no query is findable.
        """
        by_metric = self.by_metric().items()
        return {metric: 100 * float(np.nanmean(values)) for metric, values in by_metric}


def cosine_distances(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosine distances of L2-normalised features.

    Args:
        query: float32 [Q, D].
        gallery: float32 [G, D].

    Returns:
        float32 [Q, G].
    """
    similarity = query @ gallery.T
    return np.subtract(1, similarity, out=similarity)


def rank_gallery(
    distance: np.ndarray, query: Labels, gallery: Labels
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort the gallery for each query, nearest first; ties in gallery order.

    Args:
        distance: [Q, G].
        query: who and which camera, of each query.
        gallery: the same of each gallery image.

    Returns:
        [Q, G] each: the gallery rows in order; `kept`, False for junk and for the query's own
        person under its own camera; `right`, True for its person among the kept.
    """
    order = np.argsort(distance, axis=1, kind="stable")
    person, camera = gallery.person[order], gallery.camera[order]
    same_person = person == query.person[:, None]
    same_camera = camera == query.camera[:, None]
    same_sight = same_person & same_camera
    kept = (person != JUNK) & ~same_sight
    is_somebody = person > DISTRACTOR
    right = same_person & kept & is_somebody
    return order, kept, right


@dataclass(frozen=True)
class OwnImages:
    """The gallery images that show the queries' own people, as pairs of a query and an image.

    Args:
        query: int [n], rows of queries, in order.
        image: int [n], rows of the gallery.
        right: bool [n]; False where the image is removed from the query's ranking.
        junk: int, gallery rows that all queries pass over.
    """

    query: np.ndarray
    image: np.ndarray
    right: np.ndarray
    junk: np.ndarray

    def of(self, rows: slice) -> OwnImages:
        """Those of some queries, counted from the first of them."""
        bounds = np.searchsorted(self.query, [rows.start, rows.stop])
        part = slice(*bounds)
        query = self.query[part] - rows.start
        return OwnImages(query, self.image[part], self.right[part], self.junk)


def find_own_images(query: Labels, gallery: Labels) -> OwnImages:
    """Find the images of each query's person: right under another camera, removed under its own.

    Returns:
        Pairs by query, and in gallery order.
    """
    # The images of a person are a stretch of the gallery sorted by person.
    order = np.argsort(gallery.person, kind="stable")
    persons = gallery.person[order]
    begin = np.searchsorted(persons, query.person, "left")
    end = np.searchsorted(persons, query.person, "right")
    count = end - begin

    # One line for each pair: step through the stretch of each query's person.
    row = np.repeat(np.arange(len(query)), count)
    first_line = np.cumsum(count) - count
    step = np.arange(len(row)) - np.repeat(first_line, count)
    place = np.repeat(begin, count) + step
    image = order[place]

    other_camera = gallery.camera[image] != query.camera[row]
    # A distractor under another camera is nothing to a query: neither right nor removed.
    is_somebody = query.person[row] > DISTRACTOR
    concerns = ~other_camera | is_somebody
    junk = np.flatnonzero(gallery.person == JUNK)
    return OwnImages(row[concerns], image[concerns], other_camera[concerns], junk)


def find_ranks(distance: np.ndarray, own: OwnImages) -> np.ndarray:
    """The rank of each right image, from 1; ties in gallery order.

    An image's rank is how many of those kept are nearer, and how many as near stand before it. So
    distances are sorted without the images that they belong to, which takes a third of the time,
    and the right ones are looked up in them. Of distances 0.3, 0.1, 0.5, 0.3 the fourth image is
    found at place 1 (behind 0.1), and one as near stands before it: rank 3.

    Args:
        distance: [Q, G], none NaN.
        own: the images of the queries' people.

    Returns:
        int64, one rank for each right image of `own`.
    """
    # What is passed over becomes NaN, which is sorted behind everything.
    kept = np.array(distance, np.result_type(distance, np.float32))
    kept[:, own.junk] = np.nan
    removed = ~own.right
    kept[own.query[removed], own.image[removed]] = np.nan

    query, image = own.query[own.right], own.image[own.right]
    value = kept[query, image]
    ordered = np.sort(kept, axis=1)
    nearer, up_to = np.empty((2, len(query)), np.int64)
    bounds = np.searchsorted(query, np.arange(len(kept) + 1)).tolist()
    for row, (start, end) in zip(ordered, itertools.pairwise(bounds), strict=True):
        wanted = value[start:end]
        nearer[start:end] = row.searchsorted(wanted)
        up_to[start:end] = row.searchsorted(wanted, "right")

    # Where several are as near, count those that stand before.
    as_near = up_to - nearer
    for tied in np.flatnonzero(as_near > 1).tolist():
        before = kept[query[tied], : image[tied]]
        nearer[tied] += np.count_nonzero(before == value[tied])
    return nearer + 1


def scores_from_ranks(query: np.ndarray, rank: np.ndarray, count: int) -> Scores:
    """Score queries by the ranks of their right images.

    Args:
        query: int [m], the query of each right image, in order.
        rank: int [m], from 1.
        count: how many queries there are.

    Returns:
        The scores of all `count` queries.
    """
    best_first = np.lexsort((rank, query))
    rank = rank[best_first]
    total = np.bincount(query, minlength=count)
    ends = np.cumsum(total)
    starts = ends - total

    # How many right images are found up to and with each one.
    found = np.arange(1, len(rank) + 1) - np.repeat(starts, total)
    precision_sum = np.bincount(query, found / rank, count)

    first, hardest = np.zeros((2, count), np.int64)
    has_right = total > 0
    first[has_right] = rank[starts[has_right]]
    last = ends - 1
    hardest[has_right] = rank[last[has_right]]
    # 0 / 0 is NaN, which says that the query is not findable.
    with np.errstate(invalid="ignore"):
        return Scores(precision_sum / total, total / hardest, first)


def score(distance: np.ndarray, query: Labels, gallery: Labels) -> Scores:
    """Score a few queries, in threads.

    Args:
        distance: [Q, G], none NaN, to the whole gallery.
        query: of the queries.
        gallery: of all gallery images.
    """
    own = find_own_images(query, gallery)

    def ranks_of_piece(start: int) -> np.ndarray:
        rows = slice(start, start + PIECE)
        return find_ranks(distance[rows], own.of(rows))

    # Threads help, as NumPy lets go of the interpreter in what takes time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ranks = list(pool.map(ranks_of_piece, range(0, len(query), PIECE)))
    query_of_rank = own.query[own.right]
    return scores_from_ranks(query_of_rank, np.concatenate(ranks), len(query))


def query_chunks(count: int) -> Iterator[slice]:
    """Slices of at most CHUNK rows that cover 0..count."""
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        yield slice(start, stop)


def join_scores(parts: list[Scores]) -> Scores:
    """One `Scores` of the chunks' scores, in their order."""
    columns = {}
    for field in fields(Scores):
        of_parts = [getattr(part, field.name) for part in parts]
        columns[field.name] = np.concatenate(of_parts)
    return Scores(**columns)
