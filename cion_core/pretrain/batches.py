"""What a step trains on: crops chosen by the sampler, decoded once, and their views as normalised tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.data import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data import IMAGENET_DEFAULT_STD as STD

from cion_core.crops import CropStore
from cion_core.pretrain.sampler import IdentitySampler
from cion_core.pretrain.views import Recipe, view
from cion_core.zoo import to_tensor

__all__ = ["MEAN", "STD", "Batches"]


class Batches(Dataset):
    """`batches[step]` is (views, K): per recipe a float32 tensor [B, 3, height, width], and K crops per identity.

    Row b of every view shows the same crop. A view's randomness comes from (seed, step, b) alone, so neither
    workers nor a resume change it.
    """

    def __init__(self, store: CropStore, sampler: IdentitySampler, recipes: list[Recipe], seed: int) -> None:
        self.store, self.sampler, self.recipes, self.seed = store, sampler, recipes, seed

    def __getitem__(self, step: int) -> tuple[list[Tensor], int]:
        rows, instances = self.sampler(step)
        crops = []
        for slot, row in enumerate(rows):
            rng = np.random.default_rng([self.seed, 1, step, slot])
            image = self.store.read(int(row))
            crops.append([view(image, recipe, rng) for recipe in self.recipes])
        views = zip(self.recipes, zip(*crops, strict=True), strict=True)
        return [to_tensor(images, (recipe.size, MEAN, STD)) for recipe, images in views], instances

    def load(self, steps: range, workers: int) -> DataLoader:
        """The batches of `steps` in order, made by `workers` processes (0: by this one)."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            # a fork would inherit OpenCV's and OpenMP's locks as they happen to be, and could wait for ever
            multiprocessing_context="spawn" if workers else None,
            generator=torch.Generator(),  # a loader draws a seed; from the global one, each resume would shift it
        )
