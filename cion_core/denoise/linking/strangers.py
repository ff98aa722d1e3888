"""How alike strangers are in this footage: the yardstick for a cosine that has none of its own.

Nearly all pairs of tracklets of different videos are strangers. So the many pairs of middling
likeness tell how rare a greater likeness would be among strangers, and that is carried on to where
strangers and people who come again mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cion_core.neighbours.search import cosines

# With fewer points nothing can be said.
ENOUGH = 30
# With fewer pairs of different videos their tail is noise.
ENOUGH_PAIRS = 300
# Points that all others are held against.
SAMPLE = 2_000
# Standard scores that hardly anybody but strangers reaches in number.
BODY = np.arange(0.75, 2.76, 0.25)
# The score from which on those who come again show.
BEYOND = 3.25
# People who come again number this many times those beyond BEYOND.
HIDDEN = 1.15
# Rounds of fitting the tail and taking away those who come again.
ROUNDS = 5


@dataclass(frozen=True)
class Strangers:
    """What is usual between a point and strangers.

    Args:
        points: float32 [n, D], unit length.
        mean: float32 [n], of each point's cosines with points of other views.
        spread: float32 [n], their standard deviation.
        tail: float [3], coefficients of a parabola, highest power first: the log of the share of
            strangers whose standard score is above a given one.
    """

    points: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    tail: np.ndarray

    def log_expected(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The log of how many strangers a point meets who are as like it as i is like j.

        Args:
            i: int [m], rows of `points`.
            j: int [m].

        Returns:
            float64 [m].
        """
        scores = standard_scores(cosines(self.points, i, j), self.mean, self.spread, i, j)
        # The parabola turns below the body.
        scores = np.maximum(scores, BODY[0])
        log_share = np.polyval(self.tail, scores)
        return log_share + np.log(len(self.points))


def standard_scores(
    cosine: np.ndarray, mean: np.ndarray, spread: np.ndarray, i: np.ndarray, j: np.ndarray
) -> np.ndarray:
    """Cosines in standard deviations above what is usual: the mean of both sides.

    Args:
        cosine: float32 [m], of the pairs i, j.
        mean: float32 [n], what is usual for each point.
        spread: float32 [n], by how much that varies.
        i: int [m], rows of points.
        j: int [m].

    Returns:
        float32 [m].
    """
    score_of_i = (cosine - mean[i]) / spread[i]
    score_of_j = (cosine - mean[j]) / spread[j]
    return (score_of_i + score_of_j) / 2


def measure_strangers(points: np.ndarray, views: np.ndarray) -> Strangers | None:
    """Measure how alike strangers are.

    Args:
        points: float32 [n, D], unit length.
        views: int [n].

    Returns:
        None if the points are too few to tell, or hardly any lie in different views.
    """
    count = len(points)
    if count < ENOUGH or views.min() == views.max():
        return None
    rng = np.random.default_rng(0)
    sample = np.sort(rng.permutation(count)[:SAMPLE])

    # Step 1: what is usual for each point.
    mean, spread = np.empty((2, count), np.float32)
    for start in range(0, count, SAMPLE):
        rows = slice(start, start + SAMPLE)
        cosine = points[rows] @ points[sample].T
        different = views[rows, None] != views[sample]
        mean[rows], spread[rows] = _mean_and_spread(cosine, different)

    # Step 2: the scores of pairs of different views.
    i, j = np.triu_indices(len(sample), 1)
    i, j = sample[i], sample[j]
    different = views[i] != views[j]
    i, j = i[different], j[different]
    if len(i) < ENOUGH_PAIRS:
        return None
    scores = standard_scores(cosines(points, i, j), mean, spread, i, j)
    return Strangers(points, mean, spread, fit_tail(scores))


def _mean_and_spread(cosine: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation of each row.

    Args:
        cosine: float32 [m, k].
        counts: bool [m, k], which of them count; where none does, the mean is 0 and the deviation
            1.
    """
    number = np.maximum(counts.sum(1), 1)
    mean = (cosine * counts).sum(1) / number
    mean_square = (cosine**2 * counts).sum(1) / number
    variance = mean_square - mean**2
    spread = np.sqrt(np.maximum(variance, 1e-9))
    return mean, np.where(variance > 1e-9, spread, 1)


def fit_tail(scores: np.ndarray) -> np.ndarray:
    """Fit a parabola through the logs of the shares of scores above those of BODY.

    People who come again lie in the body, too. They are taken for as many as there are beyond
    BEYOND over what the parabola says, and are taken away. That changes the parabola, so a few
    times over.

    Args:
        scores: float [m], standard scores of pairs.

    Returns:
        float [3], as `Strangers.tail`.
    """
    ordered = np.sort(scores)

    def share_above(score: np.ndarray | float) -> np.ndarray:
        return 1 - np.searchsorted(ordered, score) / len(ordered)

    coming_again = 0.0
    for _ in range(ROUNDS):
        shares = np.maximum(share_above(BODY) - coming_again, 1e-9)
        parabola = np.polyfit(BODY, np.log(shares), 2)
        # A tail gets no heavier further out.
        parabola[0] = min(parabola[0], 0.0)
        strangers_beyond = np.exp(np.polyval(parabola, BEYOND))
        surplus = float(share_above(BEYOND) - strangers_beyond)
        coming_again = HIDDEN * max(surplus, 0.0)
    return parabola
