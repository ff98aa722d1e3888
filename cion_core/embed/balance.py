"""Colour balance: bring the crops of each video to one mean and spread, so that its light and its sensor drop out.

Grey-world (Buchsbaum 1980) with the people of a video as the world: over many of them, garments average to grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

SIZE = (64, 32)  # height, width at which colours are counted
CENTRE = slice(8, 24)  # columns where the person is
MEAN, SPREAD = 115.0, 55.0  # grey levels of people in good light
LEAST = 8.0  # grey levels; a flatter video is not stretched further


def tables_of(videos: np.ndarray, read: Callable[[int], np.ndarray], rows: Iterable[int]) -> dict[str, np.ndarray]:
    """One look-up table per video: uint8 [256, 1, 3], RGB.

    Args:
        videos: the video of each row.
        read: row to RGB uint8 [H, W, 3].
        rows: the rows to count, in any order; each is read once.

    Over the central columns of a video's crops, each channel's mean and standard deviation go to MEAN and SPREAD.
    """
    sums: dict[str, np.ndarray] = {}
    for row in rows:
        small = cv2.resize(read(row), SIZE[::-1], interpolation=cv2.INTER_AREA)[:, CENTRE].reshape(-1, 3)
        pixels = small.astype(np.float64)
        moments = np.stack([np.full(3, len(pixels)), pixels.sum(0), (pixels**2).sum(0)])
        sums[videos[row]] = sums.get(videos[row], 0) + moments
    values = np.arange(256.0)[:, None]
    luts = {}
    for video, (count, total, squares) in sums.items():
        mean = total / count
        spread = np.sqrt(np.maximum(squares / count - mean**2, LEAST**2))
        balanced = (values - mean) / spread * SPREAD + MEAN
        luts[video] = np.clip(np.rint(balanced), 0, 255).astype(np.uint8)[:, None]
    return luts
