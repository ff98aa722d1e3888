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
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import supervision as sv

from cion_core.extract.detectors._background import View, foreground, prepare
from cion_core.extract.detectors._silhouettes import people
from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.shots import SAME_VIEW, reduced, view_hash
from cion_core.ingest.video import Frames, Probe

LONG_SIDE = 640  # frames are judged at this size at most
SAMPLES = 80  # frames that a background is made of
SPAN = 120.0  # seconds that they cover at most; a new background every half of it
# Samples that a view must have, or they count with the view before: somebody close to the camera is
# no cut.
FEWEST = 3


class Scene:
    """The views of a video around the present.

    Example:
        SAMPLES = 80, and every 15th frame is a sample. Frame 0 asks for 80 samples, of frames 0 to
        1185, which serve up to their middle one, frame 600. That frame asks for 40 more: the
        samples are then of frames 600 to 1785, and serve up to frame 1200; and so on.
    """

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
        """What a frame shows without its people.

        Args:
            index: The frame's number in the video; it must rise from call to call.
            image: The frame as `prepare` makes it.
        """
        # 1. Decode ahead until the samples lie around this frame.
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
        # 2. Which of the views among them it is; each is made when it is first asked for.
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
        Samples of the views a a b a a a c c c c are numbered 0 0 0 0 0 0 1 1 1 1: b is somebody
        close to the camera.
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


class Motion(Detector):
    """Background subtraction.

    Confidence is how much a silhouette is like a whole person's, its size included.
    """

    about = "what differs from the background of a fixed camera; no weights, fixed cameras only"

    def begin(self, path: Path, probe: Probe) -> None:
        """See `Detector.begin`."""
        self._zoom = min(1.0, LONG_SIDE / max(probe.width, probe.height))
        self._size = (round(probe.width * self._zoom), round(probe.height * self._zoom))
        self._scene = Scene(path, probe, self._size, self.p.min_height * self._zoom)

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """See `Detector.detect`."""
        image = prepare(frame, self._size)
        view = self._scene.view(index, image)
        mask = foreground(image, view.background, view.threshold)
        boxes, confidence = people(mask, self.p.min_height * self._zoom, view.stature)
        return detections(boxes / self._zoom, confidence)
