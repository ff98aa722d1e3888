"""Which crops of a video are worth keeping, and how much each shows of its person.

Everything about a crop is measured while its frame is there (`seen_in`, `Changes`). What is usual
in the video is known at its end; then crops are judged (`select`).
"""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pandas as pd

from cion_core import quality

SMALL = (16, 32)  # pixels, width and height, at which two crops are compared
SAME_BOX = 0.7  # IoU from which on two boxes are one detection twice
NEARLY_EQUAL = "nearly equal"
# What is measured of a crop while its frame is there, beside what the table of crops holds.
MEASURED = ("shown", "at_side", "at_top_or_bottom", "nearly_equal")


def seen_in(box: np.ndarray, people: np.ndarray, width: int, height: int) -> dict[str, object]:
    """What a frame tells of one box in it.

    Args:
        box: float [4], x1 y1 x2 y2 in pixels.
        people: float [n, 4], everybody found in the frame, the box's own person too.
        width: of the frame, pixels.
        height: likewise.

    Returns:
        shown: the share of the box that nobody else's hides. at_side: whether it touches the left
        or right edge of the frame. at_top_or_bottom: whether it touches one of those.
    """
    # 1. Who else is there: a box that nearly is this one is a second detection of the same person.
    boxes = np.concatenate([[box], people]).astype(np.float64)
    others = np.arange(1, len(boxes))
    low = np.maximum(boxes[0, :2], boxes[others, :2])
    high = np.minimum(boxes[0, 2:], boxes[others, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    overlap = shared / (area[0] + area[others] - shared)
    others = others[overlap < SAME_BOX]
    # 2. What the others hide, and which edges are touched.
    pairs = np.stack([np.zeros_like(others), others], axis=1)
    at_side, at_top_or_bottom = quality.edges(boxes[:1], width, height)
    shown = quality.not_hidden(boxes, pairs)[0]
    return {
        "shown": float(shown),
        "at_side": bool(at_side[0]),
        "at_top_or_bottom": bool(at_top_or_bottom[0]),
    }


class Changes:
    """Tells which crops of a tracklet are nearly equal to the last one that was not.

    Example:
        With `least` 8 and `min_crops` 1 crops whose grey levels are 101, 103, 106, 109 and 112 are
        new, nearly equal, nearly equal, new (8 from 101) and nearly equal (3 from 109).

    Args:
        least: grey levels, on average over pixels and colours, that a crop must differ by. 0: none
            is nearly equal.
        min_crops: a tracklet's first so many crops are never called nearly equal, or somebody who
            stands still would have too few.
    """

    def __init__(self, least: float, min_crops: int) -> None:
        self._least = least
        self._min_crops = min_crops
        self._last: dict[int, np.ndarray] = {}
        self._different: Counter[int] = Counter()

    def is_nearly_equal(self, tracklet: int, crop: np.ndarray) -> bool:
        """Whether a tracklet's next crop is nearly equal to the last one that was not.

        Args:
            tracklet: its number.
            crop: uint8 [H, W, 3].
        """
        if not self._least:
            return False
        small = cv2.resize(crop, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._different[tracklet] >= self._min_crops:
            difference = np.abs(small - self._last[tracklet]).mean()
            if difference < self._least:
                return True
        self._last[tracklet] = small
        self._different[tracklet] += 1
        return False


def select(
    crops: pd.DataFrame, min_quality: float, min_crops: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Judge the crops of a video.

    Of each tracklet the best `min_crops` stay, whatever their quality is.

    Args:
        crops: of one video, tables.Crops with MEASURED, N rows.
        min_quality: crops of less are kept out.
        min_crops: how many crops of each tracklet always stay.

    Returns:
        The crops that are kept, with their quality and without MEASURED; and how many are kept out
        for each reason. A crop of too little quality is counted for what lowers it most.
    """
    # 1. How much each crop shows.
    shot, tracklets = crops["shot"].to_numpy(), crops.tracklet.to_numpy()
    shares = quality.shares_of(
        shot,
        tracklets,
        crops[["x1", "y1", "x2", "y2"]].to_numpy(np.float64),
        crops.shown.to_numpy(np.float64),
        (crops.at_side.to_numpy(bool), crops.at_top_or_bottom.to_numpy(bool)),
        crops.sharpness.to_numpy(np.float64),
        crops.confidence.to_numpy(np.float64),
    )
    rated = quality.product(shares)

    # 2. What is kept out: first what is nearly equal, then what shows too little.
    equal = crops.nearly_equal.to_numpy(bool)
    best_first = (
        pd.Series(np.where(equal, -1, rated))
        .groupby(tracklets)
        .rank(method="first", ascending=False)
    )
    poor = ~equal & (rated < min_quality) & (best_first.to_numpy() > min_crops)

    # 3. Why.
    reasons = list(shares)
    known = np.nan_to_num(np.stack(list(shares.values())), nan=1.0)
    worst = known.argmin(axis=0)
    counts = Counter(reasons[number] for number in worst[poor])
    if equal.any():
        counts[NEARLY_EQUAL] = int(equal.sum())
    kept = crops.assign(quality=rated)[~equal & ~poor].drop(columns=list(MEASURED))
    return kept.reset_index(drop=True), dict(sorted(counts.items()))
