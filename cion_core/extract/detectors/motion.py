"""People as what differs from the background of a fixed camera.

The background is the median of frames sampled around the present, before and after it: a second decoder of the same
file runs ahead, so that even the first frame is judged by what comes later, nobody has to leave for an empty scene,
and slow changes of light are followed. Memory is bounded by the samples, whatever the video's length.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from cion_core.extract.detectors import Detector, detections
from cion_core.extract.video import Frames, Probe

LONG_SIDE = 640  # frames are judged at this size at most
SAMPLES = 80  # frames that a background is the median of
SPAN = 120.0  # seconds that they cover at most; a new background every half of it
FLOOR = 8.0  # grey levels of noise that every camera is granted
SIGMAS = 4.0  # and as many standard deviations of the pixel's own noise
STRONG = 1.6  # a region must exceed its threshold this many times somewhere
ASPECT = (1.2, 6.0)  # height / width of a person's box
WIDE = 0.7  # width / height from which on a region is looked at for several people


class Background:
    """Median and noise of the frames around the present, at working size."""

    def __init__(self, path: Path, probe: Probe, size: tuple[int, int]) -> None:
        stride = max(1, min(int(SPAN * probe.fps / SAMPLES), probe.frames // SAMPLES))
        frames = Frames(path, probe.fps, probe.fps / stride)
        self._ahead = (prepare(frame, size) for _, _, frame in frames)
        self._samples: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._half = stride * SAMPLES // 2
        self._until = 0  # first frame that the present background does not serve

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Median and threshold in grey levels, float32 [h, w, 3] both, for frame `index`; indices must rise."""
        while index >= self._until:
            fresh = list(islice(self._ahead, SAMPLES // 2 if self._until else SAMPLES))
            self._until += self._half
            if fresh:
                self._samples.extend(fresh)
                stack = np.stack(self._samples)
                self._median = np.median(stack, axis=0).astype(np.uint8)
                deviation = np.median(cv2.absdiff(stack, np.broadcast_to(self._median, stack.shape)), axis=0)
                self._threshold = (FLOOR + SIGMAS * 1.4826 * deviation).astype(np.float32)
        return self._median, self._threshold


def prepare(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`frame` at `size` (width, height), slightly blurred against noise."""
    if frame.shape[1::-1] != size:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(frame, (5, 5), 0)


class Motion(Detector):
    """Background subtraction: foreground, its connected regions, fragments joined and groups divided."""

    def __init__(self, min_height: int) -> None:
        self._min_height = min_height

    def begin(self, path: Path, probe: Probe) -> None:
        self._zoom = min(1.0, LONG_SIDE / max(probe.width, probe.height))
        self._size = (round(probe.width * self._zoom), round(probe.height * self._zoom))
        self._background = Background(path, probe, self._size)

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        mask = foreground(prepare(frame, self._size), *self._background.at(index))
        boxes, confidence = people(mask, self._min_height * self._zoom)
        return detections(boxes / self._zoom, confidence)


def foreground(image: np.ndarray, background: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Where `image` differs from `background`: uint8 [h, w] of 0 and 1.

    The background is first brought to the image's exposure (the median ratio of each channel). A region counts if it
    exceeds its threshold clearly somewhere (hysteresis).
    """
    sparse = (slice(None, None, 4), slice(None, None, 4))
    background = background.astype(np.float32)
    gain = np.median((image[sparse] + 1.0) / (background[sparse] + 1.0), axis=(0, 1)).clip(0.67, 1.5)
    excess = (np.abs(image - background * gain.astype(np.float32)) / threshold).max(axis=2)
    weak = (excess > 1).astype(np.uint8)
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    weak = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 9)))
    count, labels = cv2.connectedComponents(weak)
    strong = np.zeros(count, np.uint8)
    strong[np.unique(labels[(excess > STRONG) & (weak > 0)])] = 1
    return strong[labels]


def people(mask: np.ndarray, min_height: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float32 [n, 4] and confidences float32 [n] of the people in a foreground mask (uint8 [h, w], 0 or 1)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    parts = [Region(x, y, x + w, y + h, [i]) for i, (x, y, w, h, area) in enumerate(stats) if i and area >= 12]
    boxes, confidence = [], []
    for region in joined(parts, min_height):
        whole = np.isin(labels[region.y1 : region.y2, region.x1 : region.x2], region.labels)
        for left, right in divided(whole):
            rows = np.flatnonzero(whole[:, left:right].any(axis=1))
            columns = np.flatnonzero(whole[:, left:right].any(axis=0)) + left
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            height, aspect = bottom - top, (bottom - top) / (right - left)
            if height >= min_height and ASPECT[0] <= aspect <= ASPECT[1]:
                boxes.append((region.x1 + left, region.y1 + top, region.x1 + right, region.y1 + bottom))
                fill = whole[top:bottom, left:right].mean()
                confidence.append(likeness(aspect, fill))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(confidence, np.float32)


def likeness(aspect: float, fill: float) -> float:
    """0..1: how much a box of this height / width, filled to this fraction, is like that of a person seen whole."""
    shape = np.interp(aspect, (ASPECT[0], 1.8, 4.0, ASPECT[1]), (0.4, 1.0, 1.0, 0.4))
    return float(shape * np.interp(fill, (0.15, 0.45), (0.2, 1.0)))


@dataclass(frozen=True)
class Region:
    """A box (x2, y2 exclusive) and the labels of the components within it."""

    x1: int
    y1: int
    x2: int
    y2: int
    labels: list[int]

    def __or__(self, other: Region) -> Region:
        return Region(
            min(self.x1, other.x1), min(self.y1, other.y1), max(self.x2, other.x2), max(self.y2, other.y2),
            self.labels + other.labels,
        )  # fmt: skip


def joined(parts: list[Region], min_height: float) -> list[Region]:
    """Join fragments of one person: one above the other, with a small gap, together no taller than a person is."""
    parts = sorted(parts, key=lambda part: (part.y1 - part.y2, part.x1, part.y1))  # tallest first
    whole: list[Region] = []
    while parts:
        region = parts.pop(0)
        while (other := next((part for part in parts if _one_person(region, part, min_height)), None)) is not None:
            parts.remove(other)
            region |= other
        whole.append(region)
    return whole


def _one_person(a: Region, b: Region, min_height: float) -> bool:
    overlap = min(a.x2, b.x2) - max(a.x1, b.x1)
    gap = max(a.y1, b.y1) - min(a.y2, b.y2)
    both = a | b
    return (
        overlap >= 0.5 * min(a.x2 - a.x1, b.x2 - b.x1)
        and gap <= max(0.2 * max(a.y2 - a.y1, b.y2 - b.y1), 0.2 * min_height)
        and both.y2 - both.y1 <= ASPECT[1] * (both.x2 - both.x1)
    )


def divided(whole: np.ndarray) -> list[tuple[int, int]]:
    """Column ranges of the people in a region's mask (bool [h, w]): cut where few pixels are, between two bodies."""
    height, width = whole.shape
    if width < WIDE * height:
        return [(0, width)]
    profile = gaussian_filter1d(whole.sum(axis=0).astype(float), 0.06 * height, mode="constant")
    bodies, _ = find_peaks(np.pad(profile, 1), distance=max(1, 0.25 * height), prominence=0.15 * height)
    bodies -= 1
    cuts = [a + int(np.argmin(profile[a:b])) for a, b in pairwise(bodies)]
    return list(pairwise([0, *cuts, width]))
