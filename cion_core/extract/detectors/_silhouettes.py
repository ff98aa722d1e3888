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
UPRIGHT = (1.8, 4.0)  # height / width of somebody who stands alone and is seen whole
FILL = 0.4  # of such a person's box, at least this fraction is foreground
# Fractions of a region's height.
HEAD = 0.04  # how much a head stands out, at least
APART = 0.12  # how far it is from the next, at least
SMOOTH = 0.03  # over how many columns their counts are smoothed
EXAMPLES = 30  # lone people that must be seen before a view's stature is trusted


@dataclass(frozen=True)
class Stature:
    """How tall people are in a view, by the row of their feet: height = at_top + slope * row."""

    at_top: float
    slope: float

    def height_at(self, foot: float) -> float:
        """Tell how tall somebody is who stands in a row.

        Args:
            foot: the row of their feet.

        Returns:
            Pixels, never below 1.
        """
        return max(1.0, self.at_top + self.slope * foot)


def fit_stature(boxes: np.ndarray) -> Stature | None:
    """Fit a robust line (Theil-Sen) through lone people's feet and heights.

    Args:
        boxes: float32 [n, 4].

    Returns:
        The line; None where there are too few boxes, or all stand in one row.
    """
    foot = boxes[:, 3]
    height = boxes[:, 3] - boxes[:, 1]
    if len(boxes) < EXAMPLES or np.ptp(foot) == 0:
        return None
    slope = theilslopes(height, foot).slope
    at_top = np.median(height - slope * foot)
    return Stature(float(at_top), float(slope))


def find_lone_people(mask: np.ndarray, min_height: float) -> np.ndarray:
    """Find the components that look like one whole person and touch no border of the frame.

    Args:
        mask: uint8 [h, w] of 0 and 1.
        min_height: pixels.

    Returns:
        Boxes float32 [n, 4].
    """
    frame_height, frame_width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    boxes = []
    for x, y, width, height, area in stats[1:]:  # the first is all that is no component
        is_tall = height >= min_height
        is_upright = UPRIGHT[0] <= height / width <= UPRIGHT[1]
        is_filled = area >= FILL * width * height
        begins_inside = x > 0 and y > 0
        ends_inside = x + width < frame_width and y + height < frame_height
        if is_tall and is_upright and is_filled and begins_inside and ends_inside:
            boxes.append((x, y, x + width, y + height))
    return np.array(boxes, np.float32).reshape(-1, 4)


def find_people(
    mask: np.ndarray, min_height: float, stature: Stature | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the people in a mask.

    Args:
        mask: uint8 [h, w] of 0 and 1.
        min_height: pixels; lower boxes are left out.
        stature: how tall people are in the view; None: not known.

    Returns:
        Boxes float32 [n, 4] and confidences float32 [n], as `judge_likeness` gives them.
    """
    # 1. Fragments of one person become one region.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    regions = join_fragments(_list_fragments(stats), min_height, stature)

    boxes, confidences = [], []
    for region in regions:
        # 2. A region of several people becomes a part for each.
        region_labels = labels[region.y1 : region.y2, region.x1 : region.x2]
        region_mask = np.isin(region_labels, region.labels)
        for first, behind in divide_at_heads(region_mask):
            # 3. The part's box, if it has a person's shape.
            box = _find_box(region_mask, first, behind)
            if box is None or not _has_persons_shape(box, min_height):
                continue
            foot = region.y1 + box.y2
            size = 1.0
            # Who reaches the frame's lower edge may be cut off there, so their size tells nothing.
            if stature is not None and foot < mask.shape[0]:
                size = box.height / stature.height_at(foot)
            fill = region_mask[box.y1 : box.y2, box.x1 : box.x2].mean()
            boxes.append((region.x1 + box.x1, region.y1 + box.y1, region.x1 + box.x2, foot))
            confidences.append(judge_likeness(box.aspect, fill, size))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(confidences, np.float32)


def _list_fragments(stats: np.ndarray) -> list[Region]:
    """The components of a mask but for specks, from OpenCV's statistics of them."""
    fragments = []
    for label, (x, y, width, height, area) in enumerate(stats):
        is_background = label == 0
        if not is_background and area >= SPECK:
            fragments.append(Region(x, y, x + width, y + height, (label,)))
    return fragments


def _find_box(region_mask: np.ndarray, first: int, behind: int) -> Region | None:
    """The box around what some columns of a region hold, from its corner; None: they are empty."""
    part = region_mask[:, first:behind]
    if not part.any():
        return None
    rows = np.flatnonzero(part.any(axis=1))
    columns = np.flatnonzero(part.any(axis=0))
    left, right = first + columns[0], first + columns[-1] + 1
    top, bottom = rows[0], rows[-1] + 1
    return Region(left, top, right, bottom)


def _has_persons_shape(box: Region, min_height: float) -> bool:
    return box.height >= min_height and ASPECT[0] <= box.aspect <= ASPECT[1]


def judge_likeness(aspect: float, fill: float, size: float) -> float:
    """Judge how much a box is like a whole person's.

    Args:
        aspect: its height / width.
        fill: its fraction of foreground.
        size: its height / what the view lets expect.

    Returns:
        0..1, the product of three judgements.
    """
    by_aspect = np.interp(aspect, (ASPECT[0], *UPRIGHT, ASPECT[1]), (0.4, 1, 1, 0.4))
    by_fill = np.interp(fill, (0.15, 0.45), (0.2, 1))
    by_size = np.interp(size, (0.4, 0.75, 1.3, 1.7), (0.2, 1, 1, 0.2))
    return float(by_aspect * by_fill * by_size)


@dataclass(frozen=True)
class Region:
    """A box, and which components lie in it.

    Attributes:
        x1, y1, x2, y2: the box.
        labels: the components' numbers, where they are asked for.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    labels: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels."""
        return self.y2 - self.y1

    @property
    def aspect(self) -> float:
        """Height / width."""
        return self.height / self.width

    def __or__(self, other: Region) -> Region:
        """The box around both, with the components of both."""
        return Region(
            min(self.x1, other.x1),
            min(self.y1, other.y1),
            max(self.x2, other.x2),
            max(self.y2, other.y2),
            self.labels + other.labels,
        )


def join_fragments(
    fragments: list[Region], min_height: float, stature: Stature | None
) -> list[Region]:
    """Join fragments of one person.

    They lie one above the other with a small gap between, and are together no taller than a person.

    Args:
        fragments: in any order.
        min_height: pixels.
        stature: how tall people are in the view; None: not known.

    Returns:
        Regions, each of one or more fragments.
    """
    remaining = sorted(fragments, key=lambda one: (-one.height, one.x1, one.y1))
    regions: list[Region] = []
    while remaining:
        region = remaining.pop(0)
        # What has been joined may reach further fragments, so all are asked again.
        while True:
            fitting = (one for one in remaining if _are_one(region, one, min_height, stature))
            other = next(fitting, None)
            if other is None:
                break
            remaining.remove(other)
            region |= other
        regions.append(region)
    return regions


def _are_one(a: Region, b: Region, min_height: float, stature: Stature | None) -> bool:
    """Whether two regions are parts of one person."""
    both = a | b
    overlap = min(a.x2, b.x2) - max(a.x1, b.x1)
    if overlap < 0.5 * min(a.width, b.width) or both.height > 4.5 * both.width:
        return False
    gap = max(a.y1, b.y1) - min(a.y2, b.y2)
    if stature:
        expected = stature.height_at(both.y2)
        return gap <= 0.3 * expected and both.height <= 1.15 * expected
    # Two that are each shaped like people, and of like size, are two people, one behind the other.
    are_of_like_size = min(a.height, b.height) >= 0.4 * both.height
    are_shaped_like_people = min(a.aspect, b.aspect) >= 1.5
    if are_of_like_size and are_shaped_like_people:
        return False
    return gap <= 0.2 * max(a.height, b.height, min_height)


def divide_at_heads(region_mask: np.ndarray) -> list[tuple[int, int]]:
    """Divide a region at its heads.

    Two people side by side have an outline with two peaks, and between them the region is divided
    where it has the fewest pixels in a column.

    Args:
        region_mask: bool [h, w].

    Returns:
        The first column of each person, and the one behind the last.
    """
    height, width = region_mask.shape
    # 1. The heads: peaks of the outline, which is how far up each column reaches.
    is_filled = region_mask.any(axis=0)
    outline = np.where(is_filled, height - region_mask.argmax(axis=0), 0).astype(float)
    outline = gaussian_filter1d(outline, HEAD * height / 3, mode="nearest")
    with_ends = np.pad(outline, 1)  # so that a head at the border is a peak too
    peaks, _ = find_peaks(with_ends, distance=max(1, APART * height), prominence=HEAD * height)
    heads = peaks - 1
    # 2. The borders: the thinnest column between each two heads.
    pixels = region_mask.sum(axis=0).astype(float)
    thickness = gaussian_filter1d(pixels, SMOOTH * height, mode="nearest")
    borders = [head + int(np.argmin(thickness[head:after])) for head, after in pairwise(heads)]
    return list(pairwise([0, *borders, width]))
