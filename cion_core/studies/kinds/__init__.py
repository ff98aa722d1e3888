"""What can be studied, one file each; `base.Study` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

STUDIES = Kind("study", "cion study", __name__)
