"""Colour balance: bring the crops of each video to one mean and spread.

So its light and its sensor drop out.
Grey-world (Buchsbaum 1980) with the people of a video as the world: over many of them, garments
average to grey. Before that, the light on each crop: who stands in a shadow stands before a
background in shadow, so a crop whose sides are darker, or bluer, than is usual in its video is
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
LEAST = 8.0  # grey levels; a flatter video is not stretched further
# The exponent of the gain: how far the sides are believed, for what they lack may be paint. Between
# rendered people, who are linked best at 1, and two real clips, whose tracklets are told apart best
# at 0.5 (docs/results.md).
TRUST = 0.75
MOST = 3.0  # the largest gain; 1 / MOST is the smallest


@dataclass(frozen=True)
class Balance:
    """What `fit` found; call it with an image and its row."""

    videos: np.ndarray  # [N]
    gain: np.ndarray  # float [N, 3], of each row's RGB
    mean: dict[str, np.ndarray]  # float [3] per video, after the gains
    spread: dict[str, np.ndarray]

    def __call__(self, image: np.ndarray, row: int) -> np.ndarray:
        """RGB uint8 [H, W, 3], balanced."""
        video = self.videos[row]
        lit = np.arange(256.0)[:, None] * self.gain[row]
        values = (lit - self.mean[video]) / self.spread[video] * SPREAD + MEAN
        return cv2.LUT(image, np.clip(np.rint(values), 0, 255).astype(np.uint8)[:, None])

    def part(self, rows: range) -> Balance:
        """The balance of some rows that follow each other.

        Args:
            rows: theirs here; they are counted from 0 there.
        """
        chosen = slice(rows.start, rows.stop)
        there = dict.fromkeys(self.videos[chosen])
        mean = {video: self.mean[video] for video in there}
        spread = {video: self.spread[video] for video in there}
        return Balance(self.videos[chosen], self.gain[chosen], mean, spread)


def fit(videos: np.ndarray, read: Callable[[int], np.ndarray], rows: Iterable[int]) -> Balance:
    """Measure every row once, and find the balance; see `compute_balance`.

    Args:
        videos: the video of each row, [N].
        read: row to RGB uint8 [H, W, 3].
        rows: 0..N-1 in order, perhaps with a progress bar.
    """
    colours = np.empty((len(videos), 3, 3))
    for row in rows:
        colours[row] = measure_colours(read(row))
    return compute_balance(videos, colours)


def measure_colours(image: np.ndarray) -> np.ndarray:
    """Measure what the balance must know of a crop.

    Args:
        image: RGB uint8 [H, W, 3].

    Returns:
        float64 [3, 3]: of its sides the mean, of its centre the mean, and the mean of squares, of
        each channel.
    """
    small = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
    centre = small[:, CENTRE]
    return np.array([small[:, SIDES].mean((0, 1)), centre.mean((0, 1)), (centre**2).mean((0, 1))])


def compute_balance(videos: np.ndarray, colours: np.ndarray) -> Balance:
    """Find the balance of crops.

    Over the central columns of a video's crops, each channel gets the mean MEAN and the standard
    deviation SPREAD.

    Args:
        videos: the video of each row, [N].
        colours: of each row, float64 [N, 3, 3] (`measure_colours`).
    """
    sides, means, squares = colours[:, 0], colours[:, 1], colours[:, 2]
    gain = np.empty((len(videos), 3))
    mean, spread = {}, {}
    for video in dict.fromkeys(videos):
        of = videos == video
        usual = np.median(sides[of], axis=0)
        gain[of] = np.clip(
            (np.maximum(usual, 1) / np.maximum(sides[of], 1)) ** TRUST, 1 / MOST, MOST
        )
        mean[video] = (gain[of] * means[of]).mean(0)
        variance = (gain[of] ** 2 * squares[of]).mean(0) - mean[video] ** 2
        spread[video] = np.sqrt(np.maximum(variance, LEAST**2))
    return Balance(videos, gain, mean, spread)
