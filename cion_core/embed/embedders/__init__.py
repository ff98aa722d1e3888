"""Ways to make features of images, one file each; `base.Embedder` says what one must do."""

from __future__ import annotations

from cion_core.registry import Kind

EMBEDDERS = Kind("embedder", "card.json, embedder", __name__)
