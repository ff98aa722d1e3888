"""People as what differs from the background of a fixed camera.

The background is what stays the same in frames sampled around the present, before and after it: a
second decoder of the same file runs ahead, so that even the first frame is judged by what comes
later, nobody has to leave for an empty scene, and slow changes of light are followed. Memory is
bounded by the samples, whatever the video's length.

Where a film is cut, each view has a background of its own, made of the samples that show it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.shots import SAME_VIEW, reduced, view_hash
from cion_core.extract.silhouettes import Stature, lone, people, stature
from cion_core.ingest.video import Frames, Probe

LONG_SIDE = 640  # frames are judged at this size at most
SAMPLES = 80  # frames that a background is made of
SPAN = 120.0  # seconds that they cover at most; a new background every half of it
FLOOR = 8.0  # grey levels of noise that every camera is granted
NEAR = 12  # grey levels around the most frequent that are still background
SIGMAS = 4.0  # and as many standard deviations of the pixel's own noise
GHOST = 1.5  # a ghost's outline is this many times as strong in the background as in the frame
GHOST_AREA = 100  # pixels; smaller regions are not looked at for ghosts
# samples that a view must have, or they count with the view before: somebody close to the camera is
# no cut
FEWEST = 3
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
        """The view that samples show, uint8 [h, w, 3] each."""
        background, noise = still(np.stack(samples))
        threshold = FLOOR + SIGMAS * noise
        background = healed(background, threshold, samples)
        alone = [lone(foreground(image, background, threshold), min_height) for image in samples]
        return cls(background, threshold, stature(np.concatenate(alone)))


class Scene:
    """The views of a video around the present."""

    def __init__(self, path: Path, probe: Probe, size: tuple[int, int], min_height: float) -> None:
        stride = max(1, min(int(SPAN * probe.fps / SAMPLES), -(-probe.frames // SAMPLES)))
        frames = Frames(path, probe.fps, probe.fps / stride)
        self._ahead = ((index, prepare(frame, size)) for index, _, frame in frames)
        self._samples: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._indices: deque[int] = deque(maxlen=SAMPLES)  # of the samples
        self._hashes: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._until: float = 0  # first frame that the present samples do not serve
        self._min_height = min_height
        self._numbers = np.empty(0, int)  # of the view that each sample shows
        self._views: dict[int, View] = {}  # those that were asked for, by their numbers

    def view(self, index: int, image: np.ndarray) -> View:
        """What frame `index`, of which `image` is the prepared picture, shows without its people.

        Indices must rise.
        """
        while index >= self._until:
            asked = SAMPLES // 2 if self._until else SAMPLES
            some = list(islice(self._ahead, asked))
            self._indices.extend(number for number, _ in some)
            # It serves up to its middle sample, wherever in a video with gaps that lies; the last
            # serves to the end.
            self._until = self._indices[SAMPLES // 2] if len(some) == asked else math.inf
            if some:
                self._samples.extend(picture for _, picture in some)
                self._hashes.extend(view_hash(reduced(picture)) for _, picture in some)
                self._numbers = view_numbers(self._hashes)
                self._views = {}
        number = self._number_of(index, image)
        if number not in self._views:
            shown = [self._samples[place] for place in np.flatnonzero(self._numbers == number)]
            self._views[number] = View.of(shown, self._min_height)
        return self._views[number]

    def _number_of(self, index: int, image: np.ndarray) -> int:
        """Which view a frame shows: that of the sample before or after it which is more like it."""
        after = int(np.searchsorted(self._indices, index))
        around = [max(after - 1, 0), min(after, len(self._indices) - 1)]
        numbers = self._numbers[around]
        if numbers[0] == numbers[1]:
            return int(numbers[0])
        here = view_hash(reduced(image))
        unlike = [(here != self._hashes[place]).mean() for place in around]
        return int(numbers[np.argmin(unlike)])


def view_numbers(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """Number the views that successive samples show, int [n], from 0.

    A view that comes back has the number that it had. One of fewer than FEWEST samples is none of
    its own: they count with the view before them, or at the beginning with the one after them.

    Args:
        hashes: of the samples, as `shots.view_hash` makes them.

    Example:
        Samples of the views a a b a a a c c c c are numbered 0 0 0 0 0 0 1 1 1 1: b is somebody close to the camera.
    """
    # 1. Each sample belongs to the view that was last seen like it.
    last_seen: dict[int, np.ndarray] = {}
    found = []
    for now in hashes:
        like = [number for number, last in last_seen.items() if (now != last).mean() <= SAME_VIEW]
        # The view of the sample before is asked first: views may change slowly.
        number = found[-1] if found and found[-1] in like else min(like, default=len(last_seen))
        last_seen[number] = now
        found.append(number)

    # 2. What is seen too seldom goes with its neighbours.
    counts = np.bincount(found)
    numbers = np.array(found)
    lasting = counts[numbers] >= FEWEST
    if not lasting.any():
        return np.zeros_like(numbers)
    places = np.where(lasting, np.arange(len(numbers)), -1)
    before = np.maximum.accumulate(places)
    before[before < 0] = np.flatnonzero(lasting)[0]
    return np.unique(numbers[before], return_inverse=True)[1]


def still(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stays the same in `samples` (uint8 [n, h, w, 3]): mean and standard deviation, float32
    [h, w, 3] both.

    They are taken over the samples near each channel's half-sample mode (Robertson & Cryer, 1974;
    Bickel, 2002), which is right where the median fails: where people stand most of the time, but
    not always the same.
    """
    means, noises = [], []
    for strip in np.array_split(
        samples, max(1, samples.shape[1] // 32), axis=1
    ):  # bounds the memory
        ordered = np.sort(strip, axis=0).astype(np.int16)
        while (n := len(ordered)) > 2:
            half = -(-n // 2) if n > 3 else 2
            first = (ordered[half - 1 :] - ordered[: n - half + 1]).argmin(axis=0)
            ordered = np.take_along_axis(
                ordered, first + np.arange(half).reshape(-1, 1, 1, 1), axis=0
            )
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
    """`background` without who stood there too long: what a sample shows in such a ghost's place is
    put there.

    A ghost is a foreground region whose outline is seen in the background rather than in the
    sample.
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
    """Strength of the gradient of [h, w, 3] in grey levels per pixel, float32 [h, w]."""
    grey = image.mean(axis=2, dtype=np.float32)
    return cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def prepare(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`frame` at `size` (width, height), slightly blurred against noise."""
    if frame.shape[1::-1] != size:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(frame, (5, 5), 0)


class Motion(Detector):
    """Background subtraction; confidence is how much a silhouette is like a whole person's, its
    size included.
    """

    about = "what differs from the background of a fixed camera; no weights, fixed cameras only"

    def begin(self, path: Path, probe: Probe) -> None:
        self._zoom = min(1.0, LONG_SIDE / max(probe.width, probe.height))
        self._size = (round(probe.width * self._zoom), round(probe.height * self._zoom))
        self._scene = Scene(path, probe, self._size, self.p.min_height * self._zoom)

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        image = prepare(frame, self._size)
        view = self._scene.view(index, image)
        mask = foreground(image, view.background, view.threshold)
        boxes, confidence = people(mask, self.p.min_height * self._zoom, view.stature)
        return detections(boxes / self._zoom, confidence)


def foreground(image: np.ndarray, background: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Where `image` differs from `background`: uint8 [h, w] of 0 and 1.

    The background is first brought to the image's exposure (the median ratio of each channel). A
    region counts if it exceeds its threshold clearly somewhere (hysteresis).
    """
    sparse = (slice(None, None, 8), slice(None, None, 8))
    ratio = (image[sparse] + np.float32(1)) / (background[sparse] + np.float32(1))
    gain = np.median(ratio.reshape(-1, 3), axis=0).clip(0.67, 1.5)
    excess = cv2.absdiff(image.astype(np.float32), background * gain.astype(np.float32)) / threshold
    excess = cv2.transform(excess * excess, np.ones((1, 3), np.float32))
    weak = (excess > 1).astype(np.uint8)
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    weak = cv2.morphologyEx(
        weak, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 9))
    )
    count, labels = cv2.connectedComponents(weak)
    strong = np.zeros(count, np.uint8)
    strong[labels[(excess > STRONG**2) & (weak > 0)]] = 1
    return strong[labels]
