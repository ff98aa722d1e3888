"""Rules that link nodes across videos, one file each; `base.LinkingRule` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

RULES = Kind("linking rule", "denoise.linking", __name__)
