"""Labelled images as a step of fine-tuning is given them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cion_core.images import read_image, resize
from cion_core.training.batches import Batches, Item
from cion_core.training.learner import Learner

if TYPE_CHECKING:
    from cion_core.finetune.recipes.base import Recipe

CACHE = 512 * 2**20  # bytes of decoded training images that may stay in memory


class Images:
    """Images by row, decoded once where they fit into memory; RGB uint8 at a fixed (height, width).

    digests: SHA-256 of the files' bytes, as the benchmark stage has looked at them. resize: how
    they are brought to the size (`images.resize`).
    """

    def __init__(
        self, paths: list[str], digests: list[str], size: tuple[int, int], resize: str = ""
    ) -> None:
        self.paths, self.digests, self.size, self.resize = paths, digests, size, resize
        self._cache: dict[int, np.ndarray] | None = (
            {} if len(paths) * size[0] * size[1] * 3 <= CACHE else None
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, row: int) -> np.ndarray:
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        image = resize(read_image(self.paths[row], self.digests[row]), self.size, self.resize)
        if self._cache is not None:
            self._cache[row] = image
        return image


class Labelled(Batches):
    """One view of each image, as a recipe makes it; where the recipe finds its own labels, anew in
    every round.

    people int64 [N]: whose each image is, from 0; -1, everywhere, where the recipe is not told.
    cameras int64 [N].
    """

    def __init__(
        self, recipe: Recipe, read: Images, people: np.ndarray, cameras: np.ndarray,
        seed: int, rank: int = 0, ranks: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(recipe.sampler(people, cameras), seed, rank, ranks)
        self.recipe, self.read, self.people, self.cameras = recipe, read, people, cameras

    def __getitem__(self, step: int) -> Item:
        rows, places, instances, identities = self.share(step)
        views = [
            self.recipe.view(self.read(row), np.random.default_rng([self.seed, 2, step, place]))
            for place, row in zip(places, rows, strict=True)
        ]
        return Item(instances, identities, [torch.from_numpy(np.stack(views))])

    def until(self, step: int) -> int:
        every = self.recipe.every
        return super().until(step) if every is None else step - step % every + every

    def renew(self, step: int, learner: Learner) -> None:
        if self.recipe.every is None:
            return
        if step % self.recipe.every == 0:
            found = self.recipe.labels(learner, self.read, self.cameras)
            self.people = self.people if found is None else found
        self.sampler = self.recipe.sampler(self.people, self.cameras)

    def state_dict(self) -> dict[str, Tensor]:
        return {"people": torch.from_numpy(self.people)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.people = state["people"].numpy()
