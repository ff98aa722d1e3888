"""Ways to fine-tune a backbone, one file each; `base.Recipe` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

RECIPES = Kind("fine-tuning recipe", "finetune.runs", __name__)
