"""The background of a view: made of samples, freed of ghosts, and compared with a frame.

Pure functions. Images are BGR in grey levels, at the size that `prepare` brings frames to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cion_core.extract.detectors._silhouettes import Stature, find_lone_people, fit_stature

FLOOR = 8.0  # grey levels of noise that every camera is granted
NEAR = 12  # grey levels around the most frequent that are still background
SIGMAS = 4.0  # and as many standard deviations of the pixel's own noise
GHOST = 1.5  # a ghost's outline is this many times as strong in the background as in the frame
GHOST_AREA = 100  # pixels; smaller regions are not looked at for ghosts
STRONG = 1.6  # a region must exceed its threshold this many times somewhere
STRIP = 32  # rows whose samples are sorted at a time, to bound the memory
MARGIN = 4  # pixels around a region in which its outline is looked for


@dataclass(frozen=True)
class View:
    """What a camera sees without its people.

    Attributes:
        background: float32 [h, w, 3].
        threshold: grey levels by which somebody differs from it, float32 [h, w, 3].
        stature: how tall people are in it; None where too few were seen.
    """

    background: np.ndarray
    threshold: np.ndarray
    stature: Stature | None

    @classmethod
    def of(cls, samples: Sequence[np.ndarray], min_height: float) -> View:
        """Find the view that samples show.

        Args:
            samples: uint8 [h, w, 3] each, as `prepare` makes them.
            min_height: of people, in pixels of the samples.

        Returns:
            The view.
        """
        background, noise = find_still(np.stack(samples))
        threshold = FLOOR + SIGMAS * noise
        background = heal_ghosts(background, threshold, samples)
        masks = (find_foreground(sample, background, threshold) for sample in samples)
        lone_people = [find_lone_people(mask, min_height) for mask in masks]
        return cls(background, threshold, fit_stature(np.concatenate(lone_people)))


def find_still(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find what stays the same in samples of one view.

    Mean and standard deviation are taken over the samples near each channel's half-sample mode
    (Robertson & Cryer, 1974; Bickel, 2002), which is right where the median fails: where people
    stand most of the time, but not always the same.

    Args:
        samples: uint8 [n, h, w, 3].

    Returns:
        Mean and standard deviation, float32 [h, w, 3] both.

    Example:
        A pixel's sorted values are 99 100 100 101 150 170 200 240: the ground is 100, and their
        median 125. The half of them that lies closest together is 99 100 100 101, and half of that
        100 100. So the mode is 100, and the mean of what is within NEAR of it is the ground.
    """
    means, noises = [], []
    for strip in np.array_split(samples, max(1, samples.shape[1] // STRIP), axis=1):
        near = np.abs(strip - _half_sample_mode(strip)) <= NEAR
        count = near.sum(axis=0, dtype=np.float32)
        mean = np.where(near, strip, 0).sum(axis=0, dtype=np.float32) / count
        squares = np.where(near, (strip - mean) ** 2, 0)
        variance = squares.sum(axis=0, dtype=np.float32) / count
        means.append(mean)
        noises.append(np.sqrt(variance))
    return np.concatenate(means), np.concatenate(noises)


def _half_sample_mode(samples: np.ndarray) -> np.ndarray:
    """Of the sorted values again and again the half that lies closest together: int16 [1, ...]."""
    ordered = np.sort(samples, axis=0).astype(np.int16)
    while len(ordered) > 2:
        count = len(ordered)
        half = (count + 1) // 2
        # How far each run of `half` values reaches, and where the closest begins.
        reach = ordered[half - 1 :] - ordered[: count - half + 1]
        first = reach.argmin(axis=0)
        closest = first + np.arange(half).reshape(-1, 1, 1, 1)
        ordered = np.take_along_axis(ordered, closest, axis=0)
    return ordered[:1]


def heal_ghosts(
    background: np.ndarray, threshold: np.ndarray, samples: Iterable[np.ndarray]
) -> np.ndarray:
    """Take who stood there too long out of a background.

    Such a ghost is a foreground region whose outline is seen in the background rather than in the
    sample. What the sample shows is put in its place.

    Args:
        background: float32 [h, w, 3].
        threshold: as `View` has it.
        samples: uint8 [h, w, 3] each.

    Returns:
        The background without ghosts, float32 [h, w, 3].
    """
    healed = background.copy()
    healed_edges = measure_edges(healed)
    for sample in samples:
        mask = find_foreground(sample, healed, threshold)
        sample_edges = measure_edges(sample)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        for label, (x, y, width, height, area) in enumerate(stats):
            is_background = label == 0
            if is_background or area < GHOST_AREA:
                continue
            rows = slice(max(0, y - MARGIN), y + height + MARGIN)
            columns = slice(max(0, x - MARGIN), x + width + MARGIN)
            around = (rows, columns)
            region, outline = _widen(labels[around] == label)
            in_background = healed_edges[around][outline].mean()
            in_sample = sample_edges[around][outline].mean()
            if in_background > GHOST * in_sample:
                healed[around][region] = sample[around][region]
                healed_edges[around] = measure_edges(healed[around])
    return healed


def _widen(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A region with two pixels around it, and the band along its border; bool [h, w] each."""
    square = np.ones((5, 5), np.uint8)
    pixels = region.astype(np.uint8)
    widened = cv2.dilate(pixels, square) > 0
    inner = cv2.erode(pixels, square) > 0
    return widened, widened & ~inner


def measure_edges(image: np.ndarray) -> np.ndarray:
    """Measure how strong the edges of an image are.

    Args:
        image: grey levels [h, w, 3].

    Returns:
        The gradient's length, grey levels per pixel, float32 [h, w].
    """
    grey = image.mean(axis=2, dtype=np.float32)
    along_x = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    along_y = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return cv2.magnitude(along_x, along_y)


def prepare(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a frame to the size that it is judged at, slightly blurred against noise.

    Args:
        frame: uint8 [H, W, 3].
        size: width and height, pixels.

    Returns:
        uint8 [height, width, 3].
    """
    if frame.shape[1::-1] != size:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(frame, (5, 5), 0)


def find_foreground(image: np.ndarray, background: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Find where an image differs from the background.

    Args:
        image: uint8 [h, w, 3].
        background: float32 [h, w, 3].
        threshold: as `View` has it.

    Returns:
        uint8 [h, w] of 0 and 1.
    """
    # 1. The background is brought to the image's exposure.
    difference = cv2.absdiff(
        image.astype(np.float32), background * _estimate_gain(image, background)
    )
    # 2. Where the difference, over the channels, exceeds its threshold; specks and gaps closed.
    excess = difference / threshold
    squared_excess = cv2.transform(excess * excess, np.ones((1, 3), np.float32))
    weak = (squared_excess > 1).astype(np.uint8)
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 9))
    weak = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, ellipse)
    # 3. A region counts if it exceeds the threshold clearly somewhere (hysteresis).
    count, labels = cv2.connectedComponents(weak)
    is_clear = (squared_excess > STRONG**2) & (weak > 0)
    strong = np.zeros(count, np.uint8)
    strong[labels[is_clear]] = 1
    return strong[labels]


def _estimate_gain(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """How many times as bright an image is as the background: a channel's median, float32 [3]."""
    sparse = (slice(None, None, 8), slice(None, None, 8))
    ratios = (image[sparse] + np.float32(1)) / (background[sparse] + np.float32(1))
    gain = np.median(ratios.reshape(-1, 3), axis=0).clip(0.67, 1.5)
    return gain.astype(np.float32)
