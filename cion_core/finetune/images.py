"""A benchmark's images as a step of fine-tuning is given them."""

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
    """Images by row, RGB uint8 at a fixed size; decoded once where they fit into memory.

    Args:
        paths: of the files.
        digests: SHA-256 of the files' bytes, as the benchmark stage has looked at them.
        size: (height, width).
        resize: how they are brought to the size (`images.resize`).
    """

    def __init__(
        self, paths: list[str], digests: list[str], size: tuple[int, int], resize: str = ""
    ) -> None:
        self.paths = paths
        self.digests = digests
        self.size = size
        self.resize = resize
        needed = len(paths) * size[0] * size[1] * 3
        self._cache: dict[int, np.ndarray] | None = {} if needed <= CACHE else None

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, row: int) -> np.ndarray:
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        original = read_image(self.paths[row], self.digests[row])
        image = resize(original, self.size, self.resize)
        if self._cache is not None:
            self._cache[row] = image
        return image


class RecipeBatches(Batches):
    """One view of each image, as a recipe makes it.

    Where the recipe finds its own labels, they are found anew in every round.

    Args:
        recipe: which says which images meet, and how they are augmented.
        images: by row.
        people: int64 [N], who is on each image, from 0; -1 everywhere where the recipe is
            unsupervised.
        cameras: int64 [N].
        seed: of the run.
        rank: which process's share.
        processes: of how many.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Images,
        people: np.ndarray,
        cameras: np.ndarray,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__(recipe.sampler(people, cameras), seed, rank, processes)
        self.recipe = recipe
        self.images = images
        self.people = people
        self.cameras = cameras

    def __getitem__(self, step: int) -> Item:
        rows, places, instances, identities = self.share(step)
        views = []
        for place, row in zip(places, rows, strict=True):
            rng = np.random.default_rng([self.seed, 2, step, place])
            views.append(self.recipe.view(self.images(row), rng))
        return Item(instances, identities, [torch.from_numpy(np.stack(views))])

    def end_of_round(self, step: int) -> int:
        every = self.recipe.every
        if every is None:
            return super().end_of_round(step)
        return step - step % every + every

    def begin_round(self, step: int, learner: Learner) -> None:
        if self.recipe.every is None:
            return
        if step % self.recipe.every == 0:
            found = self.recipe.find_labels(learner, self.images, self.cameras)
            self.people = self.people if found is None else found
        self.sampler = self.recipe.sampler(self.people, self.cameras)

    def state_dict(self) -> dict[str, Tensor]:
        return {"people": torch.from_numpy(self.people)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.people = state["people"].numpy()
