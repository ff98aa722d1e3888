"""Ways to pre-train a backbone, one file each; `base.Method` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

METHODS = Kind("pre-training method", "pretrain.methods", __name__)
