"""Colour balance: bring the crops of each camera view to one mean and spread.

So its light and its sensor drop out. A view is a video, or a shot of it.

Grey-world (Buchsbaum 1980) with the people of a view as the world: over many of them, garments
average to grey. Before that, the light on each crop: who stands in a shadow stands before a
background in shadow, so a crop whose sides are darker, or bluer, than is usual in its view is
given most of what they lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

SIZE = (64, 32)  # height, width at which colours are counted
CENTRE = slice(8, 24)  # columns where the person is
SIDES = np.r_[0:5, 27:32]  # columns where the background is
MEAN, SPREAD = 115.0, 55.0  # grey levels of people in good light
LEAST = 8.0  # grey levels; a flatter view is not stretched further
# The exponent of the gain: how far the sides are believed, for what they lack may be paint. Between
# rendered people, who are linked best at 1, and two real clips, whose tracklets are told apart best
# at 0.5 (docs/results.md).
TRUST = 0.75
MOST = 3.0  # the largest gain; 1 / MOST is the smallest


@dataclass(frozen=True)
class Balance:
    """How crops are balanced; call it with an image and its row.

    Attributes:
        views: the camera view of each row, [N].
        gain: float [N, 3], of each row's RGB.
        mean: {view: float [3]}, of each channel after the gains.
        spread: {view: float [3]}, the standard deviations likewise.
    """

    views: np.ndarray
    gain: np.ndarray
    mean: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]

    def __call__(self, image: np.ndarray, row: int) -> np.ndarray:
        """RGB uint8 [H, W, 3], balanced."""
        view = self.views[row]
        lit = np.arange(256.0)[:, None] * self.gain[row]
        values = (lit - self.mean[view]) / self.spread[view] * SPREAD + MEAN
        rounded = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return cv2.LUT(image, rounded[:, None])

    def part(self, rows: range) -> Balance:
        """The balance of some rows that follow each other.

        Args:
            rows: theirs here; they are counted from 0 there.
        """
        chosen = slice(rows.start, rows.stop)
        there = dict.fromkeys(self.views[chosen])
        mean = {view: self.mean[view] for view in there}
        spread = {view: self.spread[view] for view in there}
        return Balance(self.views[chosen], self.gain[chosen], mean, spread)


def measure_balance(
    views: np.ndarray, read: Callable[[int], np.ndarray], rows: Iterable[int]
) -> Balance:
    """Measure every row once, and find the balance; see `compute_balance`.

    Args:
        views: the camera view of each row, [N].
        read: row to RGB uint8 [H, W, 3].
        rows: 0..N-1 in order, perhaps with a progress bar.
    """
    colours = np.empty((len(views), 3, 3))
    for row in rows:
        colours[row] = measure_colours(read(row))
    return compute_balance(views, colours)


def measure_colours(image: np.ndarray) -> np.ndarray:
    """Measure what the balance must know of a crop.

    Args:
        image: RGB uint8 [H, W, 3].

    Returns:
        float64 [3, 3]: of its sides the mean, of its centre the mean, and the mean of squares, of
        each channel.
    """
    small = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
    sides = small[:, SIDES]
    centre = small[:, CENTRE]
    return np.array([sides.mean((0, 1)), centre.mean((0, 1)), (centre**2).mean((0, 1))])


def compute_balance(views: np.ndarray, colours: np.ndarray) -> Balance:
    """Find the balance of crops.

    Over the central columns of a view's crops, each channel gets the mean MEAN and the standard
    deviation SPREAD.

    Args:
        views: the camera view of each row, [N].
        colours: of each row, float64 [N, 3, 3] (`measure_colours`).
    """
    sides, means, squares = colours[:, 0], colours[:, 1], colours[:, 2]
    gain = np.empty((len(views), 3))
    mean, spread = {}, {}
    for view in dict.fromkeys(views):
        own = views == view
        # How much darker each crop's sides are than is usual in the view.
        usual = np.median(sides[own], axis=0)
        lacking = np.maximum(usual, 1) / np.maximum(sides[own], 1)
        gain[own] = np.clip(lacking**TRUST, 1 / MOST, MOST)

        # Mean and spread of the centres, once they have their gains.
        mean[view] = (gain[own] * means[own]).mean(0)
        mean_square = (gain[own] ** 2 * squares[own]).mean(0)
        variance = mean_square - mean[view] ** 2
        spread[view] = np.sqrt(np.maximum(variance, LEAST**2))
    return Balance(views, gain, mean, spread)
