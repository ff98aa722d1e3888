"""Features of images: weight-free stripes, or any model of the zoo."""

from cion_core.embed.embedders.base import Embedder, batches, embed, load_embedder

__all__ = ["Embedder", "batches", "embed", "load_embedder"]
