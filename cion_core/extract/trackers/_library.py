"""What the trackers of the package `trackers` have in common: seconds, and thresholds."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import supervision as sv
from trackers import BIoU
from trackers.core.base import BaseTracker

from cion_core.config import Fraction, Section
from cion_core.extract.settings import Extract
from cion_core.extract.trackers.base import Tracker

# People walk about 1.3 of their own widths a second. After a step longer than LONG_STEP seconds,
# boxes are grown by what may have been walked since.
WIDTHS_PER_SECOND = 1.3
LONG_STEP = 0.1


class LibraryTracker(Tracker):
    """A tracker of the package `trackers`; a subclass says in `build` which."""

    sees_frames: ClassVar[bool] = False

    class Settings(Section):
        """overlap: IoU that a detection must have with where a tracklet is expected."""

        overlap: Fraction

    def __init__(self, section: Extract, rate: float) -> None:
        super().__init__(section, rate)
        # Boxes of this confidence or more start a tracklet: between extract.confidence and 1.
        self.high_confidence = math.sqrt(section.confidence)
        self.similarity = BIoU(_growth(1 / rate))
        self._library = self.build()
        # One step is no absence, and sampled times are not exactly equidistant.
        longest = max(section.lost_seconds, 1 / rate) + 0.5 / rate
        self._library.maximum_time_without_update = longest
        self._last_time: float | None = None

    @abstractmethod
    def build(self) -> BaseTracker:
        """Make the library's tracker. It must name a tracklet at its second detection."""

    def update(self, found: sv.Detections, time: float, frame: np.ndarray) -> sv.Detections:
        """See `Tracker.update`. A tracklet is reported from its second detection on."""
        if self._last_time is not None:
            self.similarity.buffer_ratio = _growth(time - self._last_time)
        self._last_time = time
        shown = {"frame": frame} if self.sees_frames else {}
        tracked = self._library.update(found, timestamp=time, **shown)
        tracked = tracked[tracked.tracker_id >= 0]
        return tracked[np.argsort(tracked.tracker_id)]


def _growth(step: float) -> float:
    """By which share of its size a box is grown on each side after a step of so many seconds."""
    return max(0.0, WIDTHS_PER_SECOND * (step - LONG_STEP))
