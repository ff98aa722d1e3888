"""Probing and decoding video files with OpenCV; one frame in memory at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a file is said once, by us

import cv2
import numpy as np

PLAUSIBLE_FPS = 240  # containers without a frame rate claim 0, or their clock's ticks (1,000 and more)


class BadVideo(Exception):
    """A video that cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Probe:
    """What a video claims of itself, and the size of its first decoded frame."""

    fps: float
    frames: int
    width: int
    height: int


def probe(path: Path) -> Probe:
    """Open `path` and decode its first frame; BadVideo if that fails.

    The frame count is the container's claim, which a truncated file does not keep; where it claims none, the
    frames are counted. A missing or absurd frame rate is measured from the first frames' timestamps.
    """
    if path.stat().st_size == 0:
        raise BadVideo("empty file (0 bytes)")
    capture = _open(path)
    try:
        ok, frame = capture.read()
        if not ok:
            raise BadVideo("no frame can be decoded")
        height, width = frame.shape[:2]
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not 0 < fps <= PLAUSIBLE_FPS:
            fps = _measured_fps(capture)
    finally:
        capture.release()
    if not 0 < count < 2**53:
        count = sum(1 for _ in Frames(path, fps, rate=math.inf, decode=False))
    return Probe(float(fps), int(count), width, height)


class Frames:
    """Iterate over (index, time in seconds, BGR uint8 [H, W, 3]) of the frames that are looked at.

    Of every 1/`rate` seconds of the video's clock the first frame is taken, all of them where the video is no
    faster than `rate`. `decoded` counts the frames that really came, taken or not; final when the iteration ends.
    """

    def __init__(self, path: Path, fps: float, rate: float, decode: bool = True) -> None:
        self.path, self.fps, self.rate, self.decode = path, fps, rate, decode
        self.decoded = 0

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        capture = _open(self.path)
        try:
            while capture.grab():
                index, self.decoded = self.decoded, self.decoded + 1
                if self.rate < self.fps and slot(index / self.fps, self.rate) == slot(
                    (index - 1) / self.fps, self.rate
                ):
                    continue
                ok, frame = capture.retrieve() if self.decode else (True, None)
                if ok:
                    yield index, index / self.fps, frame
        finally:
            capture.release()


def slot(time: float, rate: float) -> int:
    """Which of the equal slots of 1/`rate` seconds `time` falls into, safe against rounding at their borders."""
    return math.floor(time * rate + 1e-6)


def _open(path: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise BadVideo("not a video that OpenCV can open (truncated, damaged, or of another format)")
    return capture


def _measured_fps(capture: cv2.VideoCapture) -> float:
    """Frame rate from the timestamps of the next 30 frames; 25 where there are none."""
    stamps = [capture.get(cv2.CAP_PROP_POS_MSEC)]
    while len(stamps) < 30 and capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    steps = np.diff(stamps)
    fps = 1000 / np.median(steps) if len(steps) and np.median(steps) > 0 else 25.0
    return float(fps) if fps <= PLAUSIBLE_FPS else 25.0
