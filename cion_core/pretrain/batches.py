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

    Row b of every view shows the same crop. Of `ranks` processes number `rank` gets its share of the sampler's batch,
    whole identities, in order. A view's randomness comes from (seed, step, place in the whole batch) alone, so neither
    workers nor a resume nor the number of processes change it.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: IdentitySampler,
        recipes: list[Recipe],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.store, self.sampler, self.recipes, self.seed = store, sampler, recipes, seed
        self.rank, self.ranks = rank, ranks

    def __getitem__(self, step: int) -> tuple[list[Tensor], int]:
        rows, instances = self.sampler(step)
        share = len(rows) // self.ranks
        first, images, crops = self.rank * share, {}, []
        for slot, row in enumerate(rows[first : first + share].tolist(), first):
            rng = np.random.default_rng([self.seed, 1, step, slot])
            if row not in images:  # a small identity shows a crop several times
                images[row] = self.store.read(row)
            crops.append([view(images[row], recipe, rng) for recipe in self.recipes])
        views = zip(self.recipes, zip(*crops, strict=True), strict=True)
        return [to_tensor(images, (recipe.size, MEAN, STD)) for recipe, images in views], instances

    @staticmethod
    def views(item: tuple[list[Tensor], int], device: torch.device) -> tuple[list[Tensor], int]:
        """What `load` has yielded, on the device of the network: views as of `batches[step]`, and K."""
        views, instances = item
        return [view.to(device, non_blocking=True) for view in views], instances

    def load(self, steps: range, workers: int) -> DataLoader:
        """The batches of `steps` in order, made by `workers` processes (0: by this one)."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            # a fork would inherit OpenCV's and OpenMP's locks as they happen to be, and could wait for ever
            multiprocessing_context="spawn" if workers else None,
            generator=torch.Generator(),  # a loader draws a seed; from the global one, each resume would shift it
        )
