"""What a step trains on: crops chosen by the sampler, decoded once, and their views as normalised tensors."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.data import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data import IMAGENET_DEFAULT_STD as STD

from cion_core.crops import CropStore
from cion_core.pretrain import batched
from cion_core.pretrain.operations import view
from cion_core.training.sampler import IdentitySampler
from cion_core.pretrain.views import Recipe, draw
from cion_core.zoo import to_tensor

__all__ = ["MEAN", "STD", "Batches", "Item"]


@dataclass
class Item:
    """A process's share of a step: K crops of each identity, as views float32 [B, 3, height, width], normalised, or as
    `batched.padded` crops and the plan of each view, to be made where the network is.

    identities int64 [B]: whose they are, numbered from 0.
    """

    instances: int
    identities: Tensor
    views: list[Tensor] | None = None
    crops: Tensor | None = None
    plans: list[batched.Plan] | None = None

    def pin_memory(self) -> Item:
        """As DataLoader asks for it."""
        if self.views is not None:
            return Item(self.instances, self.identities, [view.pin_memory() for view in self.views])
        return Item(
            self.instances, self.identities, None, self.crops.pin_memory(), [plan.pin_memory() for plan in self.plans]
        )


def _stay(worker: int) -> None:
    """A SIGTERM to all of us is for the main process, which ends its workers when it has made its checkpoint."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Batches(Dataset):
    """`batches[step]` is an `Item`; `views` makes of it, per recipe, a tensor [B, 3, height, width], and K.

    Row b of every view shows the same crop. Of `ranks` processes number `rank` gets its share of the sampler's batch,
    whole identities, in order. A view's randomness comes from (seed, step, place in the whole batch) alone, so neither
    workers nor a resume nor the number of processes change it. With `late`, workers only decode and draw.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: IdentitySampler,
        recipes: list[Recipe],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        late: bool = False,
    ) -> None:
        self.store, self.sampler, self.recipes, self.seed = store, sampler, recipes, seed
        self.rank, self.ranks, self.late = rank, ranks, late

    def __getitem__(self, step: int) -> Item:
        rows, instances = self.sampler(step)
        share = len(rows) // self.ranks
        rows = rows[self.rank * share : (self.rank + 1) * share].tolist()
        images = {row: self.store.read(row) for row in dict.fromkeys(rows)}  # small identities show a crop repeatedly
        drawn = []
        for slot, row in enumerate(rows, self.rank * share):
            rng = np.random.default_rng([self.seed, 1, step, slot])
            drawn.append([draw(images[row].shape[:2], recipe, rng) for recipe in self.recipes])
        by_recipe = list(zip(self.recipes, zip(*drawn, strict=True), strict=True))
        crops = [images[row] for row in rows]
        identities = torch.from_numpy(self.sampler.labels[rows].astype(np.int64))
        if self.late:
            return Item(
                instances, identities, None, batched.padded(crops), [batched.Plan.of(views) for _, views in by_recipe]
            )
        made = [
            to_tensor(
                [view(crop, recipe, one) for crop, one in zip(crops, views, strict=True)], (recipe.size, MEAN, STD)
            )
            for recipe, views in by_recipe
        ]
        return Item(instances, identities, made)

    def views(self, item: Item, device: torch.device) -> tuple[list[Tensor], int]:
        """The views of what `load` has yielded, on the device of the network, and K."""
        if item.views is not None:
            return [view.to(device, non_blocking=True) for view in item.views], item.instances
        crops = item.crops.to(device, non_blocking=True)
        mean, std = (crops.new_tensor(of, dtype=torch.float32)[:, None, None] * 255 for of in (MEAN, STD))
        plans = zip(self.recipes, item.plans, strict=True)
        return [(batched.views(crops, recipe, p.to(device)) - mean) / std for recipe, p in plans], item.instances

    def load(self, steps: range, workers: int) -> DataLoader:
        """The batches of `steps` in order, made by `workers` processes (0: by this one)."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_stay,
            # a fork would inherit OpenCV's and OpenMP's locks as they happen to be, and could wait for ever
            multiprocessing_context="spawn" if workers else None,
            generator=torch.Generator(),  # a loader draws a seed; from the global one, each resume would shift it
        )
