"""The flip test: an image and its mirror image speak for one feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cion_core.embed.embedders.base import Embedder


class Mirrored:
    """An embedder whose feature is the normalised sum of an image's and its mirror image's.

    So an image and its mirror image have the same feature, for twice the work; fast-reid's
    `TEST.FLIP.ENABLED`. It is called as the embedder is that it is made of, and has its model,
    width and weights: that it was mirrored, a result must say beside them.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.model = embedder.model
        self.dim = embedder.dim
        self.weights = embedder.weights
        self.overlaps = False

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """As the embedder does it: resizing and mirroring go in either order."""
        return self._embedder.prepare(image)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any sizes -> float32 [n, dim], of unit length.

        Not finite where an image's feature is the opposite of its mirror image's, which the loop
        that embeds refuses.
        """
        mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        both = self._embedder(images) + self._embedder(mirrored)
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(both, axis=1, keepdims=True)
            return both / length
