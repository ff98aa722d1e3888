"""ByteTrack (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from trackers import ByteTrackTracker

from cion_core.extract.trackers._library import LibraryTracker


class ByteTrack(LibraryTracker):
    """Boxes of high confidence are joined first.

    Others may then go on with a tracklet, but start none.
    """

    about = "boxes of high confidence first, then the others go on with what is left"

    def build(self) -> ByteTrackTracker:
        """See `LibraryTracker.build`."""
        return ByteTrackTracker(
            frame_rate=self.rate,
            track_activation_threshold=self.high_confidence,
            high_conf_det_threshold=self.high_confidence,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=self.settings.overlap,
            iou=self.similarity,
        )
