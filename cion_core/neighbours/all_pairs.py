"""The nearest rows of every row, where each pair of rows is multiplied once: half the work of a search for each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cion_core.progress import track

STRIP = 1024  # rows whose similarities to all behind them are made at a time: 384 MB of 93,820
PIECE = 256  # rows that a thread compares with a strip at a time
ITSELF = 4.0  # more than any cosine


def neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """The k + 1 (or all n) nearest rows of each row of `points` (unit, float32 [n, D]), itself first, int32 [n, k + 1].

    Exact but for rounding, as `search.neighbours` is; of equally near rows those with the smaller numbers come first,
    but which of them are among the k is not said. For processors: on a GPU a plain search is faster.
    """
    n = len(points)
    best = _Best(n, min(k + 1, n))
    starts = range(0, n, STRIP)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets go of the interpreter in what takes time
        for start in track(starts, "neighbours", "strip") if len(starts) > 40 else starts:
            stop = min(start + STRIP, n)
            strip = points[start:stop] @ points[start:].T
            np.fill_diagonal(strip, ITSELF)

            def ahead(first: int, strip: np.ndarray = strip, start: int = start) -> None:
                """Rows of the strip look at all from its first row on."""
                part = strip[first : first + PIECE]
                for other in range(0, part.shape[1], STRIP):
                    seen = part[:, other : other + STRIP]
                    i, j = np.divmod(best.beaten(start + first, seen, axis=0), seen.shape[1])
                    best.offer(start + first + i, start + other + j, seen[i, j])

            def back(first: int, strip: np.ndarray = strip, start: int = start) -> None:
                """Rows behind the strip look at its rows."""
                seen = strip[:, first - start : first - start + PIECE]
                j, i = np.divmod(best.beaten(first, seen, axis=1), seen.shape[1])
                best.offer(first + i, start + j, seen[j, i])

            list(pool.map(ahead, range(0, stop - start, PIECE)))
            list(pool.map(back, range(stop, n, PIECE)))
    return np.take_along_axis(best.near, np.lexsort((best.near, -best.similar), axis=1), 1)


class _Best:
    """The nearest rows that each row has seen so far, best first: `near` int32 and `similar` float32, [n, k]."""

    def __init__(self, n: int, k: int) -> None:
        self.near, self.similar = np.zeros((n, k), np.int32), np.full((n, k), -np.inf, np.float32)

    def beaten(self, first: int, seen: np.ndarray, axis: int) -> np.ndarray:
        """Places in `seen`, flat, that are more similar than the last of the rows' lists; rows from `first` on lie
        along the axis. Few are, but where rows see the first strip: of it only the best are taken."""
        last, k = self.similar[first : first + seen.shape[axis], -1], self.near.shape[1]
        if np.isneginf(last).any() and k <= seen.shape[1 - axis]:
            least = np.moveaxis(np.partition(seen, -k, axis=1 - axis), axis, 0)[:, -k]
            last = np.maximum(last, np.nextafter(least, np.float32(-np.inf)))
        return np.flatnonzero(seen > (last[:, None] if axis == 0 else last))

    def offer(self, rows: np.ndarray, others: np.ndarray, similar: np.ndarray) -> None:
        """Pairs of rows and others, [m] each, that no row was offered before."""
        if not len(rows):
            return
        order = np.argsort(rows, kind="stable")
        touched, start, count = np.unique(rows[order], return_index=True, return_counts=True)
        k = self.near.shape[1]
        line = np.repeat(np.arange(len(touched)), count)
        place = k + np.arange(len(rows)) - np.repeat(start, count)
        values = np.full((len(touched), k + count.max()), -np.inf, np.float32)
        values[:, :k], values[line, place] = self.similar[touched], similar[order]
        numbers = np.zeros(values.shape, np.int32)
        numbers[:, :k], numbers[line, place] = self.near[touched], others[order]
        top = np.argsort(-values, axis=1)[:, :k]
        self.near[touched] = np.take_along_axis(numbers, top, 1)
        self.similar[touched] = np.take_along_axis(values, top, 1)
