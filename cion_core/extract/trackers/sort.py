"""SORT (Bewley et al., ICIP 2016)."""

from __future__ import annotations

from trackers import SORTTracker

from cion_core.extract.trackers._library import LibraryTracker


class Sort(LibraryTracker):
    """All boxes are joined at once, by a Kalman filter and IoU.

    Only boxes of high confidence start a tracklet.
    """

    about = "all boxes at once, by where a Kalman filter expects people"

    def build(self) -> SORTTracker:
        """See `LibraryTracker.build`."""
        return SORTTracker(
            frame_rate=self.rate,
            track_activation_threshold=self.high_confidence,
            minimum_consecutive_frames=2,  # it counts the first detection; the others do not
            minimum_iou_threshold=self.settings.overlap,
            iou=self.similarity,
        )
