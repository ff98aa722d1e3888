"""Ways to find people in frames, one file each; `base.Detector` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

DETECTORS = Kind("detector", "extract.detector", __name__)
