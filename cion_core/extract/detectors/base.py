"""What a detector must do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import supervision as sv

from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract
from cion_core.ingest.video import Probe
from cion_core.registry import Part


class Detector(Part, of=DETECTORS):
    """Finds people in frames. One instance serves many videos, one after another.

    A detector is one file of this package with a subclass that has `about`, a one-line description
    shown to users, and `detect`. What it needs beyond the section `extract` it declares as
    `Settings`, which stand there under its name. What is unsure, small or outside of the frame need
    not be left out: the stage does that (`extract.cut.usable`).
    """

    alone: ClassVar[bool] = False  # it uses all cores, or the one GPU, by itself: one process
    needs_weights: ClassVar[bool] = False

    def __init__(self, p: Extract) -> None:
        self.p = p
        self.settings = p.settings(self.name)

    @classmethod
    def check(cls, p: Extract) -> None:
        """Raise CionError, within a second, if it cannot work on this machine."""

    @classmethod
    def inputs(cls, p: Extract) -> list[Path]:
        """Files beside the videos that its results depend on."""
        return []

    def begin(self, path: Path, probe: Probe) -> None:
        """Get ready for the video at `path`."""

    @abstractmethod
    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """People in `frame` (BGR uint8 [H, W, 3]): xyxy in pixels, confidence in 0..1, as
        `detections` makes it.

        index: the frame's number in the video, from 0; it rises from call to call, but by more than
        one where only `extract.rate` frames a second are looked at.
        """

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """People in several frames: `detect` of each, where a detector has nothing faster.

        Args:
            frames: BGR uint8 [H, W, 3]; of a detector that is `alone` also of several videos.
            indices: The number of each frame in its video.

        Returns:
            What was found in each frame.
        """
        return [self.detect(frame, index) for frame, index in zip(frames, indices, strict=True)]


def otherwise() -> str:
    """What to do without weights, for the end of a message."""
    others = ", ".join(part.name for part in DETECTORS.all() if not part.needs_weights)
    return f"or set extract.detector to one that needs no weights: {others}"


def detections(boxes: np.ndarray, confidence: np.ndarray) -> sv.Detections:
    """supervision's form of boxes [n, 4] and confidences [n]; n may be 0."""
    return sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray(confidence, np.float32).reshape(-1),
    )
