"""What a step of pre-training is given: crops, decoded once, and their views as tensors."""

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

from cion_core.pretrain import views_on_device
from cion_core.pretrain.views import BatchViewParameters, ViewKind, draw_parameters
from cion_core.pretrain.views_on_cpu import FILL, make_view, shrink_to_fit
from cion_core.training.batches import Batches, Item
from cion_core.training.sampler import Sampler
from cion_core.zoo import to_tensor

if TYPE_CHECKING:
    from cion_core.crops import CropStore

__all__ = ["MEAN", "STD", "DeferredItem", "ViewBatches"]


@dataclass
class DeferredItem:
    """An item whose views are still to be made, on the network's device.

    It has two tensors and no more, for each costs a worker a file to hand over.

    Attributes:
        instances: K.
        crops: uint8 [B, H, W, 3], from `views_on_device.pad_crops`.
        numbers: float64 [B, 1 + V·COLUMNS], of each crop: its identity, then its views as
            `views_on_device.pack_parameters` has them.
    """

    instances: int
    crops: Tensor
    numbers: Tensor

    def pin_memory(self) -> DeferredItem:
        """As DataLoader asks for it."""
        return DeferredItem(self.instances, self.crops.pin_memory(), self.numbers.pin_memory())


class ViewBatches(Batches):
    """The views of `kinds` of each crop; row b of every view shows the same crop.

    A crop of more than twice a view's size is made smaller first. No view can show more of it; and
    on a device all crops of a batch lie in one tensor, whose size the largest of them would set.

    Args:
        store: the crops, by row.
        sampler: which rows meet at which step.
        kinds: of the views, in their order.
        seed: of the run.
        rank: which process's share.
        processes: of how many.
        on_device: the device makes the views; workers only decode and draw.
        compiled: the device's program for that is compiled.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: Sampler,
        kinds: list[ViewKind],
        seed: int,
        rank: int = 0,
        processes: int = 1,
        on_device: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(sampler, seed, rank, processes)
        self.store = store
        self.kinds = kinds
        self.on_device = on_device
        self.compiled = compiled
        height, width = np.max([kind.size for kind in kinds], 0).tolist()
        self.largest = 2 * height, 2 * width

    def __getitem__(self, step: int) -> Item | DeferredItem:
        rows, places, instances, identities = self.share(step)
        # Small identities show a crop repeatedly; it is decoded once.
        different = dict.fromkeys(rows)
        images = {row: shrink_to_fit(self.store.read(row), self.largest) for row in different}
        crops = [images[row] for row in rows]

        generators = [np.random.default_rng([self.seed, 1, step, place]) for place in places]
        shapes = [crop.shape[:2] for crop in crops]
        drawn = draw_parameters(shapes, self.kinds, generators)
        if not self.on_device:
            return Item(instances, identities, self._make(crops, drawn))
        parameters = views_on_device.pack_parameters(drawn).reshape(len(rows), -1)
        numbers = np.concatenate([identities[:, None], parameters], 1)
        padded = views_on_device.pad_crops(crops, self.largest)
        return DeferredItem(instances, torch.from_numpy(padded), torch.from_numpy(numbers))

    def _make(self, crops: list[np.ndarray], drawn: BatchViewParameters) -> list[Tensor]:
        """The drawn views: of each kind float32 [B, 3, height, width]."""
        by_kind = zip(*drawn.per_view(), strict=True)
        made = []
        for kind, parameters in zip(self.kinds, by_kind, strict=True):
            pairs = zip(crops, parameters, strict=True)
            views = [make_view(crop, kind, own) for crop, own in pairs]
            made.append(to_tensor(views, (kind.size, MEAN, STD)))
        return made

    def prepare(self, item: Item | DeferredItem, device: torch.device) -> Item:
        if isinstance(item, Item):
            return super().prepare(item, device)
        crops = item.crops.to(device, non_blocking=True)
        numbers = item.numbers.to(device, non_blocking=True)
        identities = numbers[:, 0].long()
        parameters = numbers[:, 1:].float().unflatten(1, (-1, views_on_device.COLUMNS))
        make_views = _compiled() if self.compiled else views_on_device.make_views

        # All views of one size in one go. `made` holds them by their places among the kinds.
        made: dict[int, Tensor] = {}
        sizes = dict.fromkeys(kind.size for kind in self.kinds)
        for size in sizes:
            places = [place for place, kind in enumerate(self.kinds) if kind.size == size]
            own = torch.cat([parameters[:, place : place + 1] for place in places], 1)
            views = make_views(crops, own, size, _colours(device))
            made |= zip(places, views.unbind(), strict=True)
        in_order = [made[place] for place in range(len(self.kinds))]
        return Item(item.instances, identities, in_order)


@cache
def _colours(device: torch.device) -> Tensor:
    """The `colours` of `make_views`; copied to the device once, since a copy is waited for."""
    mean = [255 * value for value in MEAN]
    deviation = [255 * value for value in STD]
    return torch.tensor([mean, deviation, FILL], device=device)


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(views_on_device.make_views, dynamic=False)
