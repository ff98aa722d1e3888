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
    """Finds people in frames.

    A detector is one file of this package with a subclass that has `about`, a one-line description
    shown to users, and `detect`. What it needs beyond the section `extract` it declares as
    `Settings`, which stand there under its name. Boxes of low confidence, small ones and those
    outside of the frame need not be left out: the stage does that (`extract.cut.usable`).

    There are two kinds of detectors:

    - Most run in each process that decodes. One instance serves many videos, one after another, and
      `begin` tells it of each.
    - A detector that is `alone` runs once on a machine, for all videos that are decoded there. It
      gets their frames in turns, and must judge each frame by itself: `begin` is never called.

    Attributes:
        alone: It uses all cores, or the one GPU, by itself.
        needs_weights: It does not work without a file of weights.
    """

    alone: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = False

    def __init__(self, p: Extract) -> None:
        """Make a detector.

        Args:
            p: The section `extract`.

        Raises:
            CionError: It cannot be made; the message says what to do.
        """
        self.p = p
        self.settings = p.settings(self.name)

    @classmethod
    def check(cls, p: Extract) -> None:
        """Say, within a second, whether it can work on this machine.

        Args:
            p: The section `extract`.

        Raises:
            CionError: It cannot; the message says what to do.
        """

    @classmethod
    def inputs(cls, p: Extract) -> list[Path]:
        """Files beside the videos that its results depend on.

        Args:
            p: The section `extract`.

        Returns:
            Those that exist, such as weights.
        """
        return []

    def begin(self, path: Path, probe: Probe) -> None:
        """Get ready for a video, before its first frame; never called where it is `alone`.

        Args:
            path: The video's file or folder.
            probe: Its rate, frames and size.
        """

    @abstractmethod
    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """Find the people in a frame.

        Args:
            frame: BGR uint8 [H, W, 3].
            index: The frame's number in the video, from 0. It rises from call to call, but by more
                than one where only `extract.rate` frames a second are looked at.

        Returns:
            Boxes x1 y1 x2 y2 in pixels and confidences in 0..1, as `detections` makes them.
        """

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """Find the people in several frames: `detect` in each, unless there is something faster.

        Args:
            frames: BGR uint8 [H, W, 3], all of one video.
            indices: The number of each frame in its video.

        Returns:
            What was found in each frame.
        """
        return [self.detect(frame, index) for frame, index in zip(frames, indices, strict=True)]


def advise_no_weights() -> str:
    """Say what to do without weights.

    Returns:
        The end of a message.
    """
    others = ", ".join(part.name for part in DETECTORS.all() if not part.needs_weights)
    return f"or set extract.detector to one that needs no weights: {others}"


def detections(boxes: np.ndarray, confidence: np.ndarray) -> sv.Detections:
    """Put boxes and confidences into supervision's form.

    Args:
        boxes: Numbers [n, 4], x1 y1 x2 y2 in pixels; n may be 0.
        confidence: Numbers [n], 0..1.

    Returns:
        `xyxy` float32 [n, 4] and `confidence` float32 [n].
    """
    return sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray(confidence, np.float32).reshape(-1),
    )
