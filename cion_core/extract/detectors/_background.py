"""The background of a view: made of samples, freed of ghosts, and compared with a frame.

Pure functions. Images are BGR in grey levels, at the size that `prepare` brings frames to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cion_core.extract.detectors._silhouettes import Stature, lone, stature

FLOOR = 8.0  # grey levels of noise that every camera is granted
NEAR = 12  # grey levels around the most frequent that are still background
SIGMAS = 4.0  # and as many standard deviations of the pixel's own noise
GHOST = 1.5  # a ghost's outline is this many times as strong in the background as in the frame
GHOST_AREA = 100  # pixels; smaller regions are not looked at for ghosts
STRONG = 1.6  # a region must exceed its threshold this many times somewhere


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
            min_height: Of people, in pixels of the samples.
        """
        background, noise = still(np.stack(samples))
        threshold = FLOOR + SIGMAS * noise
        background = healed(background, threshold, samples)
        alone = [lone(foreground(image, background, threshold), min_height) for image in samples]
        return cls(background, threshold, stature(np.concatenate(alone)))


def still(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stays the same in samples of one view.

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
    for strip in np.array_split(
        samples, max(1, samples.shape[1] // 32), axis=1
    ):  # bounds the memory
        # 1. The mode: of the sorted values again and again the half that lies closest together.
        ordered = np.sort(strip, axis=0).astype(np.int16)
        while (n := len(ordered)) > 2:
            half = -(-n // 2) if n > 3 else 2
            first = (ordered[half - 1 :] - ordered[: n - half + 1]).argmin(axis=0)
            ordered = np.take_along_axis(
                ordered, first + np.arange(half).reshape(-1, 1, 1, 1), axis=0
            )
        # 2. Mean and deviation of what is near it.
        near = np.abs(strip - ordered[:1]) <= NEAR
        count = near.sum(axis=0, dtype=np.float32)
        mean = np.where(near, strip, 0).sum(axis=0, dtype=np.float32) / count
        square = np.where(near, (strip - mean) ** 2, 0).sum(axis=0, dtype=np.float32) / count
        means.append(mean)
        noises.append(np.sqrt(square))
    return np.concatenate(means), np.concatenate(noises)


def healed(
    background: np.ndarray, threshold: np.ndarray, samples: Iterable[np.ndarray]
) -> np.ndarray:
    """Take who stood there too long out of a background.

    Such a ghost is a foreground region whose outline is seen in the background rather than in the
    sample. What the sample shows is put in its place.

    Args:
        background: float32 [h, w, 3].
        threshold: As `View` has it.
        samples: uint8 [h, w, 3] each.

    Returns:
        The background without ghosts, float32 [h, w, 3].
    """
    background = background.copy()
    outlines = edges(background)
    for sample in samples:
        mask = foreground(sample, background, threshold)
        seen = edges(sample)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        for i, (x, y, w, h, area) in enumerate(stats):
            if i == 0 or area < GHOST_AREA:
                continue
            around = (slice(max(0, y - 4), y + h + 4), slice(max(0, x - 4), x + w + 4))
            region = (labels[around] == i).astype(np.uint8)
            whole = cv2.dilate(region, np.ones((5, 5), np.uint8)) > 0
            outline = whole & (cv2.erode(region, np.ones((5, 5), np.uint8)) == 0)
            if outlines[around][outline].mean() > GHOST * seen[around][outline].mean():
                background[around][whole] = sample[around][whole]
                outlines[around] = edges(background[around])
    return background


def edges(image: np.ndarray) -> np.ndarray:
    """How strong the edges of an image are.

    Args:
        image: Grey levels [h, w, 3].

    Returns:
        The gradient's length, grey levels per pixel, float32 [h, w].
    """
    grey = image.mean(axis=2, dtype=np.float32)
    return cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def prepare(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a frame to the size that it is judged at, slightly blurred against noise.

    Args:
        frame: uint8 [H, W, 3].
        size: Width and height, pixels.
    """
    if frame.shape[1::-1] != size:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(frame, (5, 5), 0)


def foreground(image: np.ndarray, background: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Where an image differs from the background.

    Args:
        image: uint8 [h, w, 3].
        background: float32 [h, w, 3].
        threshold: As `View` has it.

    Returns:
        uint8 [h, w] of 0 and 1.
    """
    # 1. The background is brought to the image's exposure: the median ratio of each channel.
    sparse = (slice(None, None, 8), slice(None, None, 8))
    ratio = (image[sparse] + np.float32(1)) / (background[sparse] + np.float32(1))
    gain = np.median(ratio.reshape(-1, 3), axis=0).clip(0.67, 1.5)
    # 2. Where the difference, over the channels, exceeds its threshold; specks and gaps closed.
    excess = cv2.absdiff(image.astype(np.float32), background * gain.astype(np.float32)) / threshold
    excess = cv2.transform(excess * excess, np.ones((1, 3), np.float32))
    weak = (excess > 1).astype(np.uint8)
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    weak = cv2.morphologyEx(
        weak, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 9))
    )
    # 3. A region counts if it exceeds the threshold clearly somewhere (hysteresis).
    count, labels = cv2.connectedComponents(weak)
    strong = np.zeros(count, np.uint8)
    strong[labels[(excess > STRONG**2) & (weak > 0)]] = 1
    return strong[labels]
