"""What a tracker must do."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import supervision as sv

from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS
from cion_core.registry import Part


class Tracker(Part, of=TRACKERS):
    """Joins the detections of one shot into tracklets. Each shot gets an instance of its own.

    A tracker is one file of this package with a subclass that has `about`, a one-line description
    shown to users, and `update`. What it must be told beyond the section `extract` it declares as
    `Settings`. They stand in a section of its own name inside `extract`, in params.yaml and in
    identify/defaults.yaml; a tracker that has none gets an empty one there.

    Attributes:
        section: the section `extract`.
        rate: how many frames a second are usually looked at.
        settings: its own, as `Settings` declares them.
    """

    def __init__(self, section: Extract, rate: float) -> None:
        """Begin a shot.

        Args:
            section: the section `extract`; its `lost_seconds` is the longest absence of a person
                in a tracklet.
            rate: how many frames a second are usually looked at. Single steps may be longer or
                shorter: `update` is told the time of each frame.
        """
        self.section = section
        self.rate = rate
        self.settings = section.settings(self.name)

    @abstractmethod
    def update(self, found: sv.Detections, time: float, frame: np.ndarray) -> sv.Detections:
        """Say which tracklets the detections of the next frame belong to.

        Args:
            found: what the detector found, `xyxy` in pixels and `confidence`.
            time: when the frame was taken, in seconds; it rises from call to call.
            frame: the frame, BGR uint8 [H, W, 3].

        Returns:
            Those of `found` that belong to a tracklet, ordered by it, with its number (0 and up)
            as `tracker_id`.
        """
