"""People detectors behind one interface: motion (fixed cameras), hog (OpenCV's own), yolo (ultralytics)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import supervision as sv

from cion_core.extract.video import Probe
from cion_core.params import Extract

WITHOUT_WEIGHTS = ("motion", "hog")


class Detector(ABC):
    """Finds people in frames. One instance serves many videos, one after another."""

    def begin(self, path: Path, probe: Probe) -> None:  # noqa: B027 most detectors look at single frames only
        """Get ready for the video at `path`."""

    @abstractmethod
    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """People in `frame` (BGR uint8 [H, W, 3]), the video's `index`-th: xyxy in pixels, confidence in 0..1."""


def check(p: Extract) -> None:
    """CionError, within a second, if the detector that `extract.detector` names cannot work on this machine."""
    if p.detector == "yolo":
        from cion_core.extract.detectors import yolo

        yolo.check(p.weights)


def create(p: Extract) -> Detector:
    """The detector that `extract.detector` names."""
    if p.detector == "yolo":
        from cion_core.extract.detectors.yolo import Yolo

        return Yolo(p.weights, p.confidence)
    if p.detector == "hog":
        from cion_core.extract.detectors.hog import Hog

        return Hog(p.min_height)
    from cion_core.extract.detectors.motion import Motion

    return Motion(p.min_height)


def detections(boxes: np.ndarray, confidence: np.ndarray) -> sv.Detections:
    """supervision's form of boxes [n, 4] and confidences [n]; n may be 0."""
    return sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray(confidence, np.float32).reshape(-1),
    )
