"""McByte (Stanczyk et al., 2025) without its masks, which need two more networks."""

from __future__ import annotations

from trackers import McByteTracker

from cion_core.config import Fraction, Section
from cion_core.extract.trackers._library import LibraryTracker

FLOOR = 0.11  # the library takes no lower value for a high confidence


class McByte(LibraryTracker):
    """Clear matches are fixed first, so that only doubtful ones compete with each other."""

    about = "clear matches first, doubtful ones among themselves; for cameras that move"
    sees_frames = True

    class Settings(Section):
        """overlap: IoU times the detector's confidence; camera_motion: whether it is taken out."""

        overlap: Fraction
        camera_motion: bool

    def build(self) -> McByteTracker:
        """See `LibraryTracker.build`."""
        high = max(self.high_confidence, FLOOR)
        return McByteTracker(
            frame_rate=self.rate,
            track_activation_threshold=high,
            high_conf_det_threshold=high,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=self.settings.overlap,
            minimum_iou_threshold_second_assoc=self.settings.overlap,
            minimum_iou_threshold_unconfirmed_assoc=self.settings.overlap,
            enable_cmc=self.settings.camera_motion,
            instant_first_frame_activation=False,
            iou=self.similarity,
        )
