"""BoT-SORT (Aharon et al., 2022) without its appearance features."""

from __future__ import annotations

from trackers import BoTSORTTracker

from cion_core.config import Fraction, Section
from cion_core.extract.trackers._library import LibraryTracker


class BotSort(LibraryTracker):
    """ByteTrack's two rounds, after the movement of the camera has been taken out."""

    about = "ByteTrack for cameras that move: their motion is found and taken out"
    sees_frames = True

    class Settings(Section):
        """overlap: IoU times the detector's confidence; camera_motion: whether it is taken out."""

        overlap: Fraction
        camera_motion: bool

    def build(self) -> BoTSORTTracker:
        """See `LibraryTracker.build`."""
        return BoTSORTTracker(
            frame_rate=self.rate,
            track_activation_threshold=self.high_confidence,
            high_conf_det_threshold=self.high_confidence,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=self.settings.overlap,
            minimum_iou_threshold_second_assoc=self.settings.overlap,
            minimum_iou_threshold_unconfirmed_assoc=self.settings.overlap,
            enable_cmc=self.settings.camera_motion,
            instant_first_frame_activation=False,
            iou=self.similarity,
        )
