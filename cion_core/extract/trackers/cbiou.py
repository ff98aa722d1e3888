"""C-BIoU (Yang et al., WACV 2023)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from trackers import CBIoUTracker

from cion_core.config import Fraction, Section
from cion_core.extract.trackers._library import LibraryTracker

Share = Annotated[float, Field(ge=0)]


class CbIou(LibraryTracker):
    """Boxes are grown before they are compared: a little in the first round, more in the second."""

    about = "grown boxes, for jerky motion and few frames a second"

    class Settings(Section):
        """overlap: IoU of the grown boxes times the detector's confidence.

        buffers: share of its size by which a box is grown on each side in the two rounds.
        """

        overlap: Fraction
        buffers: tuple[Share, Share]

    def build(self) -> CBIoUTracker:
        """See `LibraryTracker.build`."""
        first, second = self.settings.buffers
        return CBIoUTracker(
            frame_rate=self.rate,
            track_activation_threshold=self.high_confidence,
            high_conf_det_threshold=self.high_confidence,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=self.settings.overlap,
            minimum_iou_threshold_second_assoc=self.settings.overlap,
            minimum_iou_threshold_unconfirmed_assoc=self.settings.overlap,
            instant_first_frame_activation=False,
            buffer_ratio_first=first,
            buffer_ratio_second=second,
        )
