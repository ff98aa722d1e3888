"""Labelled images as a step of fine-tuning is given them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cion_core import zoo
from cion_core.images import read_image, resize
from cion_core.training.batches import Batches, Item
from cion_core.training.sampler import Sampler

CACHE = 512 * 2**20  # bytes of decoded training images that may stay in memory


class Images:
    """Images by row, decoded once where they fit into memory; RGB uint8 at a fixed (height, width)."""

    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size
        self._cache: dict[int, np.ndarray] | None = {} if len(paths) * size[0] * size[1] * 3 <= CACHE else None

    def __call__(self, row: int) -> np.ndarray:
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        image = resize(read_image(self.paths[row]), self.size)
        if self._cache is not None:
            self._cache[row] = image
        return image


class Augmented(Batches):
    """One augmented view of each image, prepared as a model's card says."""

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray],
        card: zoo.Card,
        sampler: Sampler,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(sampler, seed, rank, ranks)
        self.read, self.augment, self.card = read, augment, card

    def __getitem__(self, step: int) -> Item:
        rows, places, instances, identities = self.share(step)
        images = [
            self.augment(self.read(row), np.random.default_rng([self.seed, 2, step, place]))
            for place, row in zip(places, rows, strict=True)
        ]
        return Item(instances, identities, [zoo.to_tensor(images, self.card)])
