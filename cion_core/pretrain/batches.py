"""What a step of pre-training is given: crops, decoded once, and their views as normalised tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.data import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data import IMAGENET_DEFAULT_STD as STD

from cion_core.crops import CropStore
from cion_core.pretrain import batched
from cion_core.pretrain.operations import bounded, view
from cion_core.pretrain.views import ViewRecipe, draw
from cion_core.training import batches
from cion_core.training.batches import Item
from cion_core.training.sampler import Sampler
from cion_core.zoo import to_tensor

__all__ = ["MEAN", "STD", "Batches", "Late"]


@dataclass
class Late:
    """An item whose views are made where the network is: `batched.padded` crops, and the plan of each view."""

    instances: int
    identities: Tensor
    crops: Tensor
    plans: list[batched.Plan]

    def pin_memory(self) -> Late:
        """As DataLoader asks for it."""
        return Late(
            self.instances, self.identities, self.crops.pin_memory(), [plan.pin_memory() for plan in self.plans]
        )


class Batches(batches.Batches):
    """The views of `recipes` of each crop; row b of every view shows the same crop.

    With `late`, workers only decode and draw. A crop of more than twice a view's size is made smaller first: more of it
    no view can show, and on a device all crops of a batch lie in one tensor, which the largest of them would decide.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: Sampler,
        recipes: list[ViewRecipe],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        late: bool = False,
    ) -> None:
        super().__init__(sampler, seed, rank, ranks)
        self.store, self.recipes, self.late = store, recipes, late
        height, width = np.max([recipe.size for recipe in recipes], 0).tolist()
        self.most = 2 * height, 2 * width

    def __getitem__(self, step: int) -> Item | Late:
        rows, places, instances, identities = self.share(step)
        # small identities show a crop repeatedly, which is decoded once
        images = {row: bounded(self.store.read(row), self.most) for row in dict.fromkeys(rows)}
        drawn = []
        for place, row in zip(places, rows, strict=True):
            rng = np.random.default_rng([self.seed, 1, step, place])
            drawn.append([draw(images[row].shape[:2], recipe, rng) for recipe in self.recipes])
        by_recipe = list(zip(self.recipes, zip(*drawn, strict=True), strict=True))
        crops = [images[row] for row in rows]
        if self.late:
            plans = [batched.Plan.of(views) for _, views in by_recipe]
            return Late(instances, identities, batched.padded(crops), plans)
        made = [
            to_tensor(
                [view(crop, recipe, one) for crop, one in zip(crops, views, strict=True)], (recipe.size, MEAN, STD)
            )
            for recipe, views in by_recipe
        ]
        return Item(instances, identities, made)

    def prepare(self, item: Item | Late, device: torch.device) -> Item:
        if isinstance(item, Item):
            return super().prepare(item, device)
        crops = item.crops.to(device, non_blocking=True)
        mean, std = (crops.new_tensor(of, dtype=torch.float32)[:, None, None] * 255 for of in (MEAN, STD))
        plans = zip(self.recipes, item.plans, strict=True)
        views = [(batched.views(crops, recipe, plan.to(device)) - mean) / std for recipe, plan in plans]
        return Item(item.instances, item.identities.to(device, non_blocking=True), views)
