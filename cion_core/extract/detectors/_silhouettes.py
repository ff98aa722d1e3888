"""From a foreground mask to people.

Fragments are joined, groups divided by their heads, and sizes judged by the view. Pure functions.
Boxes are x1, y1, x2, y2 in pixels of the mask, x2 and y2 exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.stats import theilslopes

SPECK = 12  # pixels; smaller components are dropped
ASPECT = (1.2, 6.0)  # height / width of a person's box
HEAD = 0.04  # a head stands out by this fraction of the height
APART = 0.12  # and is this far from the next
EXAMPLES = 30  # lone people from which on a view's statures are trusted


@dataclass(frozen=True)
class Stature:
    """How tall people are in a view, by the row of their feet: height = at_top + slope * row."""

    at_top: float
    slope: float

    def at(self, foot: float) -> float:
        """How tall somebody is whose feet are in the row `foot`, in pixels; never below 1."""
        return max(1.0, self.at_top + self.slope * foot)


def stature(boxes: np.ndarray) -> Stature | None:
    """Fit a robust line (Theil-Sen) through lone people's feet and heights.

    Args:
        boxes: float32 [n, 4].

    Returns:
        None where there are too few boxes.
    """
    if len(boxes) < EXAMPLES or np.ptp(boxes[:, 3]) == 0:
        return None
    foot, height = boxes[:, 3], boxes[:, 3] - boxes[:, 1]
    slope = theilslopes(height, foot).slope
    return Stature(float(np.median(height - slope * foot)), float(slope))


def lone(mask: np.ndarray, min_height: float) -> np.ndarray:
    """Find the components that look like one whole person and touch no border of the frame.

    Args:
        mask: uint8 [h, w] of 0 and 1.
        min_height: Pixels.

    Returns:
        Boxes float32 [n, 4].
    """
    height, width = mask.shape
    boxes = [
        (x, y, x + w, y + h)
        for x, y, w, h, area in cv2.connectedComponentsWithStats(mask)[2][1:]
        if h >= min_height and 1.8 <= h / w <= 4 and area >= 0.4 * w * h
        and x > 0 and y > 0 and x + w < width and y + h < height
    ]  # fmt: skip
    return np.array(boxes, np.float32).reshape(-1, 4)


def people(
    mask: np.ndarray, min_height: float, view: Stature | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the people in a mask.

    Args:
        mask: uint8 [h, w] of 0 and 1.
        min_height: Pixels; lower boxes are left out.
        view: How tall people are in it; None: not known.

    Returns:
        Boxes float32 [n, 4] and confidences float32 [n], as `likeness` gives them.
    """
    # 1. Fragments of one person become one region.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    parts = [
        Region(x, y, x + w, y + h, (i,))
        for i, (x, y, w, h, area) in enumerate(stats)
        if i and area >= SPECK
    ]
    boxes, confidence = [], []
    for region in joined(parts, min_height, view):
        # 2. A region of several people becomes a part for each.
        whole = np.isin(labels[region.y1 : region.y2, region.x1 : region.x2], region.labels)
        for left, right in divided(whole):
            part = whole[:, left:right]
            if not part.any():
                continue
            # 3. The part's box, if it has a person's shape.
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            top, bottom = rows[0], rows[-1] + 1
            left, right = left + columns[0], left + columns[-1] + 1
            height, aspect = bottom - top, (bottom - top) / (right - left)
            if height < min_height or not ASPECT[0] <= aspect <= ASPECT[1]:
                continue
            boxes.append((region.x1 + left, region.y1 + top, region.x1 + right, region.y1 + bottom))
            foot = region.y1 + bottom
            size = height / view.at(foot) if view and foot < mask.shape[0] else 1.0
            confidence.append(likeness(aspect, whole[top:bottom, left:right].mean(), size))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(confidence, np.float32)


def likeness(aspect: float, fill: float, size: float) -> float:
    """How much a box is like a whole person's, 0..1.

    Args:
        aspect: Its height / width.
        fill: Its fraction of foreground.
        size: Its height / what the view lets expect.
    """
    return float(
        np.interp(aspect, (ASPECT[0], 1.8, 4.0, ASPECT[1]), (0.4, 1, 1, 0.4))
        * np.interp(fill, (0.15, 0.45), (0.2, 1))
        * np.interp(size, (0.4, 0.75, 1.3, 1.7), (0.2, 1, 1, 0.2))
    )


@dataclass(frozen=True)
class Region:
    """A box and the labels of the components within it."""

    x1: int
    y1: int
    x2: int
    y2: int
    labels: tuple[int, ...]

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1

    @property
    def aspect(self) -> float:
        return self.height / self.width

    def __or__(self, other: Region) -> Region:
        return Region(
            min(self.x1, other.x1),
            min(self.y1, other.y1),
            max(self.x2, other.x2),
            max(self.y2, other.y2),
            self.labels + other.labels,
        )


def joined(parts: list[Region], min_height: float, view: Stature | None) -> list[Region]:
    """Join fragments of one person.

    They lie one above the other with a small gap between, and are together no taller than a person.

    Args:
        parts: Fragments, in any order.
        min_height: Pixels.
        view: How tall people are in it; None: not known.
    """
    parts = sorted(parts, key=lambda part: (-part.height, part.x1, part.y1))
    whole: list[Region] = []
    while parts:
        region = parts.pop(0)
        while (
            other := next((part for part in parts if _one(region, part, min_height, view)), None)
        ) is not None:
            parts.remove(other)
            region |= other
        whole.append(region)
    return whole


def _one(a: Region, b: Region, min_height: float, view: Stature | None) -> bool:
    overlap = min(a.x2, b.x2) - max(a.x1, b.x1)
    gap = max(a.y1, b.y1) - min(a.y2, b.y2)
    both = a | b
    if overlap < 0.5 * min(a.width, b.width) or both.height > 4.5 * both.width:
        return False
    if view:
        expected = view.at(both.y2)
        return gap <= 0.3 * expected and both.height <= 1.15 * expected
    # Two that are each shaped like people, and of like size, are two people, one behind the other.
    alike = min(a.height, b.height) >= 0.4 * both.height and min(a.aspect, b.aspect) >= 1.5
    return gap <= 0.2 * max(a.height, b.height, min_height) and not alike


def divided(whole: np.ndarray) -> list[tuple[int, int]]:
    """Divide a region at its heads.

    Two people side by side have an outline with two peaks, and between them the region is cut where
    it has the fewest pixels in a column.

    Args:
        whole: The region's mask, bool [h, w].

    Returns:
        The first column of each person, and the one behind the last.
    """
    height, width = whole.shape
    outline = np.where(whole.any(axis=0), height - whole.argmax(axis=0), 0).astype(float)
    outline = np.pad(gaussian_filter1d(outline, HEAD * height / 3, mode="nearest"), 1)
    heads, _ = find_peaks(outline, distance=max(1, APART * height), prominence=HEAD * height)
    depth = gaussian_filter1d(whole.sum(axis=0).astype(float), 0.03 * height, mode="nearest")
    cuts = [a + int(np.argmin(depth[a:b])) for a, b in pairwise(heads - 1)]
    return list(pairwise([0, *cuts, width]))
