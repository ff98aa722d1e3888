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
    shown to users, and `detect`. What it must be told beyond the section `extract` it declares as
    `Settings`. They stand in a section of its own name inside `extract`, in params.yaml and in
    identify/defaults.yaml; a detector that has none gets an empty one there (`motion: {}`). Boxes
    of low confidence, small ones and those outside of the frame need not be left out: the stage
    does that (`video_crops.keep_usable`).

    There are two kinds of detectors:

    - Most run in each process that decodes. Such an instance serves one video after another, and
      `begin` tells it of each.
    - A `shared` detector runs once on a machine, since it needs the GPU or all cores. This one
      instance serves all videos that are decoded there. It gets their frames in turns, and must
      judge each frame by itself: what `begin` tells it must not matter, and `extract` never calls
      it.

    Attributes:
        shared: one instance serves all videos of a machine.
        needs_weights: it does not work without a file of weights.
        section: the section `extract`.
        settings: its own, as `Settings` declares them.
    """

    shared: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = False

    def __init__(self, section: Extract) -> None:
        """Make a detector.

        Args:
            section: the section `extract`.

        Raises:
            CionError: it cannot be made; the message says what to do.
        """
        self.section = section
        self.settings = section.settings(self.name)

    @classmethod
    def check(cls, section: Extract) -> None:
        """Say, within a second, whether it can work on this machine.

        Args:
            section: the section `extract`.

        Raises:
            CionError: it cannot; the message says what to do.
        """

    @classmethod
    def inputs(cls, section: Extract) -> list[Path]:
        """Files beside the videos that its results depend on.

        Args:
            section: the section `extract`.

        Returns:
            Those that exist, such as weights.
        """
        return []

    def begin(self, path: Path, probe: Probe) -> None:
        """Get ready for a video, before its first frame; of no use to a `shared` detector.

        Args:
            path: the video's file or folder.
            probe: its rate, frames and size.
        """

    @abstractmethod
    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """Find the people in a frame.

        Args:
            frame: BGR uint8 [H, W, 3].
            index: the frame's number in the video, from 0. It rises from call to call, but by more
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
            indices: the number of each frame in its video.

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
        boxes: numbers [n, 4], x1 y1 x2 y2 in pixels; n may be 0.
        confidence: numbers [n], 0..1.

    Returns:
        `xyxy` float32 [n, 4] and `confidence` float32 [n].
    """
    return sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray(confidence, np.float32).reshape(-1),
    )
