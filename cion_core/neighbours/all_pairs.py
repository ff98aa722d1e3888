"""The nearest rows of every row, where each pair of rows is multiplied once: for re-ranking.

That is half the work of a search for each row: similarity is symmetric. A *strip* of rows is
multiplied with itself and all rows behind it, and both ends of each pair look at the product.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cion_core.progress import track

# Rows whose similarities to all rows behind them are made at a time: 384 MB of 93,820 rows.
STRIP = 1024
# Rows that a thread compares with a strip at a time.
PIECE = 256
# More than any cosine.
ITSELF = 4.0
# A progress bar is shown from so many strips on.
STRIPS_FOR_A_BAR = 40


def neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Find the k + 1 (or all n) nearest rows of each row, itself first.

    Exact but for rounding, as `search.neighbours` is. Of equally near rows those with the smaller
    numbers come first, but which of them are among the k is not said. For processors: on a GPU a
    plain search is faster.

    Args:
        points: float32 [n, D], unit length.
        k: neighbours beside the row itself.

    Returns:
        int32 [n, k+1].
    """
    count = len(points)
    best = _NearestSoFar(count, min(k + 1, count))
    starts = range(0, count, STRIP)
    if len(starts) > STRIPS_FOR_A_BAR:
        starts = track(starts, "neighbours", "strip")
    # Threads help, as NumPy lets go of the interpreter in what takes time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in starts:
            stop = min(start + STRIP, count)
            similar = points[start:stop] @ points[start:].T
            np.fill_diagonal(similar, ITSELF)
            strip = _Strip(start, similar, best)
            list(pool.map(strip.look_ahead, range(0, stop - start, PIECE)))
            list(pool.map(strip.look_back, range(stop, count, PIECE)))
    order = np.lexsort((best.near, -best.similar), axis=1)
    return np.take_along_axis(best.near, order, 1)


@dataclass(frozen=True)
class _Strip:
    """The similarities of a strip of rows to themselves and to all rows behind.

    Attributes:
        start: the strip's first row.
        similar: float32 [s, n - start].
        best: the lists of all rows, to which pairs are offered.
    """

    start: int
    similar: np.ndarray
    best: _NearestSoFar

    def look_ahead(self, first: int) -> None:
        """A piece of the strip's rows looks at all rows from `start` on."""
        piece = self.similar[first : first + PIECE]
        first_row = self.start + first
        for other in range(0, piece.shape[1], STRIP):
            seen = piece[:, other : other + STRIP]
            places = self.best.places_to_take(first_row, seen, axis=0)
            i, j = np.divmod(places, seen.shape[1])
            first_seen = self.start + other
            self.best.offer(first_row + i, first_seen + j, seen[i, j])

    def look_back(self, first: int) -> None:
        """A piece of the rows behind the strip looks at the strip's rows."""
        begin = first - self.start
        seen = self.similar[:, begin : begin + PIECE]
        places = self.best.places_to_take(first, seen, axis=1)
        j, i = np.divmod(places, seen.shape[1])
        self.best.offer(first + i, self.start + j, seen[j, i])


class _NearestSoFar:
    """The nearest rows that each row has seen, best first.

    Attributes:
        near: int32 [n, k], their numbers.
        similar: float32 [n, k], their cosines; -inf where fewer than k were seen.
    """

    def __init__(self, count: int, k: int) -> None:
        self.near = np.zeros((count, k), np.int32)
        self.similar = np.full((count, k), -np.inf, np.float32)

    def places_to_take(self, first: int, seen: np.ndarray, axis: int) -> np.ndarray:
        """Find what in `seen` is more similar than the last of the rows' lists.

        That is little, but where rows see the first strip: of it only the best are taken.

        Args:
            first: the number of the first row that looks.
            seen: similarities float32; the rows that look lie along `axis`.
            axis: 0 or 1.

        Returns:
            Places in `seen`, flat, int.
        """
        stop = first + seen.shape[axis]
        last = self.similar[first:stop, -1]
        k = self.near.shape[1]
        other_axis = 1 - axis
        lists_are_empty = np.isneginf(last).any()
        if lists_are_empty and k <= seen.shape[other_axis]:
            ordered = np.partition(seen, -k, axis=other_axis)
            kth_best = np.moveaxis(ordered, axis, 0)[:, -k]
            just_below = np.nextafter(kth_best, np.float32(-np.inf))
            last = np.maximum(last, just_below)
        to_beat = last[:, None] if axis == 0 else last
        return np.flatnonzero(seen > to_beat)

    def offer(self, rows: np.ndarray, others: np.ndarray, similar: np.ndarray) -> None:
        """Offer pairs of rows and others, [m] each, that no row was offered before."""
        if not len(rows):
            return
        order = np.argsort(rows, kind="stable")
        touched, start, offers = np.unique(rows[order], return_index=True, return_counts=True)
        k = self.near.shape[1]

        # One line for each touched row: its list so far, and its offers behind it.
        count = len(touched)
        width = k + offers.max()
        line = np.repeat(np.arange(count), offers)
        column = k + np.arange(len(rows)) - np.repeat(start, offers)
        values = np.full((count, width), -np.inf, np.float32)
        values[:, :k] = self.similar[touched]
        values[line, column] = similar[order]
        numbers = np.zeros(values.shape, np.int32)
        numbers[:, :k] = self.near[touched]
        numbers[line, column] = others[order]

        order_of_line = np.argsort(-values, axis=1)
        top = order_of_line[:, :k]
        self.near[touched] = np.take_along_axis(numbers, top, 1)
        self.similar[touched] = np.take_along_axis(values, top, 1)
