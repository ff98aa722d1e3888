"""What a step of pre-training is given: crops, decoded once, and their views as normalised
tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.data import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data import IMAGENET_DEFAULT_STD as STD

from cion_core.pretrain import batched
from cion_core.pretrain.operations import FILL, bounded, view
from cion_core.pretrain.views import ViewRecipe, draw
from cion_core.training import batches
from cion_core.training.batches import Item
from cion_core.training.sampler import Sampler
from cion_core.zoo import to_tensor

if TYPE_CHECKING:
    from cion_core.crops import CropStore

__all__ = ["MEAN", "STD", "Batches", "Late"]


@dataclass
class Late:
    """An item whose views are made where the network is, in two tensors: each costs a worker a file
    to hand over.

    Attributes:
        instances: K.
        crops: uint8 [B, H, W, 3], `batched.padded`.
        numbers: float64 [B, 1 + V·COLUMNS], of each crop whose it is, and `batched.packed`.
    """

    instances: int
    crops: Tensor
    numbers: Tensor

    def pin_memory(self) -> Late:
        """As DataLoader asks for it."""
        return Late(self.instances, self.crops.pin_memory(), self.numbers.pin_memory())


class Batches(batches.Batches):
    """The views of `recipes` of each crop; row b of every view shows the same crop.

    A crop of more than twice a view's size is made smaller first: more of it no view can show, and
    on a device all crops of a batch lie in one tensor, which the largest of them would decide.

    Args:
        store: the crops, by row.
        sampler: which rows meet at which step.
        recipes: of the views.
        seed: of the run.
        rank, ranks: which process's share, of how many.
        late: workers only decode and draw, and the device makes the views.
        compiled: the device's program for that is compiled.
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
        compiled: bool = False,
    ) -> None:
        super().__init__(sampler, seed, rank, ranks)
        self.store, self.recipes, self.late, self.compiled = store, recipes, late, compiled
        height, width = np.max([recipe.size for recipe in recipes], 0).tolist()
        self.most = 2 * height, 2 * width

    def __getitem__(self, step: int) -> Item | Late:
        rows, places, instances, identities = self.share(step)
        # small identities show a crop repeatedly, which is decoded once
        images = {row: bounded(self.store.read(row), self.most) for row in dict.fromkeys(rows)}
        crops = [images[row] for row in rows]
        generators = [np.random.default_rng([self.seed, 1, step, place]) for place in places]
        drawn = draw([crop.shape[:2] for crop in crops], self.recipes, generators)
        if self.late:
            numbers = np.concatenate(
                [identities[:, None], batched.packed(drawn).reshape(len(rows), -1)], 1
            )
            return Late(
                instances,
                torch.from_numpy(batched.padded(crops, self.most)),
                torch.from_numpy(numbers),
            )
        views = zip(*drawn.singles(), strict=True)
        made = [
            to_tensor(
                [view(crop, recipe, one) for crop, one in zip(crops, each, strict=True)],
                (recipe.size, MEAN, STD),
            )
            for recipe, each in zip(self.recipes, views, strict=True)
        ]
        return Item(instances, identities, made)

    def prepare(self, item: Item | Late, device: torch.device) -> Item:
        if isinstance(item, Item):
            return super().prepare(item, device)
        crops, numbers = (
            tensor.to(device, non_blocking=True) for tensor in (item.crops, item.numbers)
        )
        drawn = numbers[:, 1:].float().unflatten(1, (-1, batched.COLUMNS))
        make = _compiled() if self.compiled else batched.views
        made = {}
        for size in dict.fromkeys(recipe.size for recipe in self.recipes):
            places = [place for place, recipe in enumerate(self.recipes) if recipe.size == size]
            same = torch.cat([drawn[:, place : place + 1] for place in places], 1)
            made |= zip(places, make(crops, same, size, _colours(device)).unbind(), strict=True)
        return Item(
            item.instances,
            numbers[:, 0].long(),
            [made[place] for place in range(len(self.recipes))],
        )


@cache
def _colours(device: torch.device) -> Tensor:
    """What `batched.views` takes; brought to the device once, as that is waited for."""
    return torch.tensor(
        [[255 * value for value in MEAN], [255 * value for value in STD], FILL], device=device
    )


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(batched.views, dynamic=False)
