"""OC-SORT (Cao et al., CVPR 2023)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from trackers import OCSORTTracker

from cion_core.config import Fraction, Section
from cion_core.extract.trackers._library import LibraryTracker


class OcSort(LibraryTracker):
    """Goes by what was seen rather than by what was expected, and by the direction of walking.

    Boxes of low confidence are ignored.
    """

    about = "by the last sightings and the direction of walking; ignores boxes of low confidence"

    class Settings(Section):
        """overlap: IoU that is asked for; direction_weight: what the direction counts beside it."""

        overlap: Fraction
        direction_weight: Annotated[float, Field(ge=0)]

    def build(self) -> OCSORTTracker:
        """See `LibraryTracker.build`."""
        return OCSORTTracker(
            frame_rate=self.rate,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=self.settings.overlap,
            direction_consistency_weight=self.settings.direction_weight,
            high_conf_det_threshold=self.high_confidence,
            iou=self.similarity,
        )
