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

from cion_core.extract.detectors._background import View, find_foreground, prepare
from cion_core.extract.detectors._silhouettes import find_people
from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.shots import is_same_view, reduce_image, view_hash
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
        """Begin to sample a video.

        Args:
            path: the video's file or folder.
            probe: its rate, frames and size.
            size: width and height that frames are judged at, pixels.
            min_height: of people at that size, pixels.
        """
        stride_of_span = int(SPAN * probe.fps / SAMPLES)
        stride_of_video = -(-probe.frames // SAMPLES)
        stride = max(1, min(stride_of_span, stride_of_video))
        frames = Frames(path, probe.fps, probe.fps / stride)
        self._ahead = ((index, prepare(frame, size)) for index, _, frame in frames)
        self._min_height = min_height
        # The present samples, their numbers in the video, and what tells their views apart.
        self._samples: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._indices: deque[int] = deque(maxlen=SAMPLES)
        self._hashes: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._served_until: float = 0  # first frame that the present samples do not serve
        self._view_of_sample = np.empty(0, int)
        self._views: dict[int, View] = {}  # those that were asked for, by their numbers

    def view(self, index: int, image: np.ndarray) -> View:
        """Tell what a frame shows without its people.

        Args:
            index: the frame's number in the video; it must rise from call to call.
            image: the frame as `prepare` makes it.

        Returns:
            The view, made when it is first asked for.
        """
        while index >= self._served_until:
            self._decode_ahead()
        number = self._find_number(index, image)
        if number not in self._views:
            rows = np.flatnonzero(self._view_of_sample == number)
            samples = [self._samples[row] for row in rows]
            self._views[number] = View.of(samples, self._min_height)
        return self._views[number]

    def _decode_ahead(self) -> None:
        """Take the next samples, and number the views anew."""
        is_first = self._served_until == 0
        wanted = SAMPLES if is_first else SAMPLES // 2
        taken = list(islice(self._ahead, wanted))
        self._indices.extend(index for index, _ in taken)
        # They serve the frames up to their middle one, which is found by its index, since a video
        # may have gaps. The last samples serve to the end.
        is_last = len(taken) < wanted
        self._served_until = math.inf if is_last else self._indices[SAMPLES // 2]
        if taken:
            pictures = [picture for _, picture in taken]
            self._samples.extend(pictures)
            self._hashes.extend(view_hash(reduce_image(picture)) for picture in pictures)
            self._view_of_sample = number_views(self._hashes)
            self._views = {}

    def _find_number(self, index: int, image: np.ndarray) -> int:
        """Which view a frame shows: that of the sample before or after it which is more like it."""
        row = int(np.searchsorted(self._indices, index))
        before = max(row - 1, 0)
        after = min(row, len(self._indices) - 1)
        number_before = int(self._view_of_sample[before])
        number_after = int(self._view_of_sample[after])
        if number_before == number_after:
            return number_before
        here = view_hash(reduce_image(image))
        unlike_before = (here != self._hashes[before]).mean()
        unlike_after = (here != self._hashes[after]).mean()
        return number_before if unlike_before <= unlike_after else number_after


def number_views(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """Number the views that successive samples show.

    A view that comes back has the number that it had. One of fewer than FEWEST samples is none of
    its own: they count with the view before them, or at the beginning with the one after them.

    Args:
        hashes: of the samples, as `shots.view_hash` makes them.

    Returns:
        int [n], from 0.

    Example:
        Samples of the views a a b a a a c c c c are numbered 0 0 0 0 0 0 1 1 1 1: b is somebody
        close to the camera.
    """
    # 1. Each sample belongs to the view that was last seen like it.
    last_seen: dict[int, np.ndarray] = {}
    found: list[int] = []
    for now in hashes:
        alike = [number for number, last in last_seen.items() if is_same_view(now, last)]
        number = min(alike, default=len(last_seen))
        # The view of the sample before is preferred: views may change slowly.
        if found and found[-1] in alike:
            number = found[-1]
        last_seen[number] = now
        found.append(number)

    # 2. What is seen too seldom goes with its neighbours.
    numbers = np.array(found)
    samples_of_view = np.bincount(numbers)
    is_lasting = samples_of_view[numbers] >= FEWEST
    if not is_lasting.any():
        return np.zeros_like(numbers)
    # The row of the last lasting sample up to each; before the first of them, that one.
    rows = np.where(is_lasting, np.arange(len(numbers)), -1)
    lasting_row = np.maximum.accumulate(rows)
    lasting_row[lasting_row < 0] = np.flatnonzero(is_lasting)[0]
    # Numbers without gaps.
    return np.unique(numbers[lasting_row], return_inverse=True)[1]


class Motion(Detector):
    """Background subtraction.

    Confidence is how much a silhouette is like a whole person's, its size included.
    """

    about = "what differs from the background of a fixed camera; no weights, fixed cameras only"

    def begin(self, path: Path, probe: Probe) -> None:
        """See `Detector.begin`."""
        self._zoom = min(1.0, LONG_SIDE / max(probe.width, probe.height))
        self._size = (round(probe.width * self._zoom), round(probe.height * self._zoom))
        self._min_height = self.section.min_height * self._zoom
        self._scene = Scene(path, probe, self._size, self._min_height)

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """See `Detector.detect`."""
        image = prepare(frame, self._size)
        view = self._scene.view(index, image)
        mask = find_foreground(image, view.background, view.threshold)
        boxes, confidences = find_people(mask, self._min_height, view.stature)
        return detections(boxes / self._zoom, confidences)
