"""How alike strangers are in this footage: the yardstick for a cosine that has none of its own.

Nearly all pairs of tracklets of different videos are strangers. So the many pairs of middling likeness tell how rare
a greater likeness would be among strangers, and that is carried on to where strangers and people who come again mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cion_core.neighbours.search import cosines

ENOUGH = 30  # points below which nothing can be said
PAIRS = 300  # pairs of different videos below which their tail is noise
SAMPLE = 2_000  # points that the others are held against
BODY = np.arange(0.75, 2.76, 0.25)  # standard scores that hardly anybody but strangers reaches in number
BEYOND = 3.25  # where those who come again show
HIDDEN = 1.15  # people who come again number this many times those beyond BEYOND
ROUNDS = 5


@dataclass(frozen=True)
class Strangers:
    """points: float32 [n, D], unit; mean, spread: float32 [n], of each point's cosines with points of other videos;
    tail [3]: coefficients of a parabola, the log of the share of strangers whose standard score is above one, highest
    power first."""

    points: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    tail: np.ndarray

    def expected(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The log of how many strangers a point meets who are as like it as i is like j, float64 [len(i)]."""
        scores = standard(cosines(self.points, i, j), self.mean, self.spread, i, j)
        scores = np.maximum(scores, BODY[0])  # the parabola turns below
        return np.polyval(self.tail, scores) + np.log(len(self.points))


def standard(cosine: np.ndarray, mean: np.ndarray, spread: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Cosines of i and j in standard deviations above what is usual for them, the mean of both sides."""
    return ((cosine - mean[i]) / spread[i] + (cosine - mean[j]) / spread[j]) / 2


def measured(points: np.ndarray, videos: np.ndarray) -> Strangers | None:
    """The strangers among `points`, float32 [n, D] unit, of `videos` int [n]; None if they are too few to
    tell, or hardly any lie in different videos."""
    n = len(points)
    if n < ENOUGH or videos.min() == videos.max():
        return None
    some = np.sort(np.random.default_rng(0).permutation(n)[:SAMPLE])
    mean, spread = np.empty((2, n), np.float32)
    for start in range(0, n, SAMPLE):
        rows = slice(start, start + SAMPLE)
        mean[rows], spread[rows] = _usual(points[rows] @ points[some].T, videos[rows, None] != videos[some])
    i, j = np.triu_indices(len(some), 1)
    i, j = some[i], some[j]
    apart = videos[i] != videos[j]
    i, j = i[apart], j[apart]
    if len(i) < PAIRS:
        return None
    scores = standard(cosines(points, i, j), mean, spread, i, j)
    return Strangers(points, mean, spread, tail(scores))


def _usual(cosine: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each row, [m, k], where `apart`; 0 and 1 where nothing is."""
    count = np.maximum(apart.sum(1), 1)
    mean = (cosine * apart).sum(1) / count
    variance = (cosine**2 * apart).sum(1) / count - mean**2
    return mean, np.where(variance > 1e-9, np.sqrt(np.maximum(variance, 1e-9)), 1)


def tail(scores: np.ndarray) -> np.ndarray:
    """The parabola through the logs of the shares of scores above those of BODY, as `Strangers.tail`.

    People who come again lie in the body, too. They are taken for as many as BEYOND has more than the parabola says,
    and are taken away: that changes the parabola, so a few times over.
    """
    ordered = np.sort(scores)

    def above(score: np.ndarray | float) -> np.ndarray:
        return 1 - np.searchsorted(ordered, score) / len(ordered)

    again = 0.0
    for _ in range(ROUNDS):
        shares = np.maximum(above(BODY) - again, 1e-9)
        parabola = np.polyfit(BODY, np.log(shares), 2)
        parabola[0] = min(parabola[0], 0.0)  # a tail gets no heavier further out
        again = HIDDEN * max(float(above(BEYOND) - np.exp(np.polyval(parabola, BEYOND))), 0.0)
    return parabola
