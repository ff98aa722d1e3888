"""Crops that lie apart from all others of their video: often boxes that show no person."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows

NEIGHBOURS = 5  # whose neighbourhoods a crop's own is compared with
APART = 2.0  # an outlier's neighbours are so many times as far away as theirs are
LEAST = 1e-3  # cosine distance that pictures of one thing differ by, at least
TOGETHER = 4096  # crops at most that are compared with one another, for memory


def find(features: np.ndarray | Rows, videos: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Which of some crops lie apart from all others of their video.

    Long videos are looked at in parts of at most TOGETHER crops.

    Args:
        features: float32 [N, D], unit length.
        videos: int [N].
        asked: bool [N], the crops that are asked about.

    Returns:
        bool [N], false where it was not asked.
    """
    found = np.zeros(len(videos), bool)
    order = np.argsort(videos, kind="stable")
    video_starts = arrays.run_starts(videos[order])
    for rows in np.split(order, video_starts[1:]):
        for part in np.array_split(rows, len(rows) // TOGETHER + 1):
            if not asked[part].any():
                continue
            lies_apart = outlier_factors(features[part]) >= APART
            found[part] = asked[part] & lies_apart
    return found


def outlier_factors(points: np.ndarray) -> np.ndarray:
    """How much more thinly the surroundings of each point are peopled than those of its neighbours.

    The local outlier factor (Breunig et al., SIGMOD 2000) of cosine distances.

    Example:
        Six crops of somebody lie 0.1 from each other, and a box of the wall 0.5 from each of them.
        The crops lie as thinly as their neighbours: their factor is 1. The wall lies five times as
        thinly as its neighbours: its factor is 5.

    Args:
        points: float32 [n, D], unit length.

    Returns:
        float32 [n]; 1 where a point lies as its neighbours do.
    """
    count = len(points)
    if count < 3:
        return np.ones(count, np.float32)
    cosine = points @ points.T
    distance = np.maximum(1 - cosine, LEAST)
    np.fill_diagonal(distance, 0)
    neighbours = min(NEIGHBOURS, count - 1)
    fitted = LocalOutlierFactor(neighbours, metric="precomputed").fit(distance)
    return -fitted.negative_outlier_factor_.astype(np.float32)
