"""Ways to join detections into tracklets, one file each; `base.Tracker` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

TRACKERS = Kind("tracker", "extract.tracker", __name__)
