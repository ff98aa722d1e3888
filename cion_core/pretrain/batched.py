"""Views of many crops at once, on the device where the network is: what `operations` does, in float and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cion_core.pretrain.operations import FILL
from cion_core.pretrain.views import Drawn, ViewRecipe

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def padded(crops: Sequence[np.ndarray]) -> Tensor:
    """RGB uint8 crops [H, W, 3] of any sizes in one tensor uint8 [B, 3, largest H, largest W], zero where none is."""
    height, width = np.max([crop.shape[:2] for crop in crops], 0)
    batch = torch.zeros((len(crops), 3, int(height), int(width)), dtype=torch.uint8)
    for place, crop in zip(batch, crops, strict=True):
        place[:, : crop.shape[0], : crop.shape[1]] = torch.from_numpy(crop).permute(2, 0, 1)
    return batch


@dataclass
class Plan:
    """Views that were drawn for B crops, as tensors: box and erased box int64 [B, 4] (nothing erased: zeros), flip,
    grey and solarise bool [B], order int64 and amount float32 [B, 4] of the jitter (-1: none), sigma float32 [B].

    order and sigma stay on the CPU: which crops an operation is for is known there without waiting for the device.
    """

    box: Tensor
    flip: Tensor
    order: Tensor
    amount: Tensor
    grey: Tensor
    sigma: Tensor
    solarise: Tensor
    erase: Tensor

    @classmethod
    def of(cls, views: Sequence[Drawn]) -> Plan:
        none = ((-1, 0.0),) * 4
        jitter = [view.jitter or none for view in views]
        return cls(
            box=torch.tensor([view.box for view in views]),
            flip=torch.tensor([view.flip for view in views]),
            order=torch.tensor([[number for number, _ in each] for each in jitter]),
            amount=torch.tensor([[amount for _, amount in each] for each in jitter]),
            grey=torch.tensor([view.grey for view in views]),
            sigma=torch.tensor([view.sigma for view in views]),
            solarise=torch.tensor([view.solarise for view in views]),
            erase=torch.tensor([view.erase or (0, 0, 0, 0) for view in views]),
        )

    def to(self, device: torch.device) -> Plan:
        """The same on a device, but for order and sigma."""
        there = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Plan(**there | {"order": self.order, "sigma": self.sigma})

    def pin_memory(self) -> Plan:
        """As DataLoader asks for it."""
        return Plan(**{name: value.pin_memory() for name, value in vars(self).items()})


def views(crops: Tensor, recipe: ViewRecipe, plan: Plan) -> Tensor:
    """The views of `padded` crops, float32 [B, 3, height, width], 0 to 255, on the crops' device, as is `plan`."""
    x = resized(crops, plan.box, plan.flip, recipe.size)
    for turn in range(4):
        for number, operation in enumerate((brightness, contrast, saturation, hue)):
            rows = _rows(plan.order[:, turn] == number, x.device)
            x[rows] = operation(x[rows], plan.amount[rows, turn, None, None, None])
    x = torch.where(plan.grey[:, None, None, None], luma(x).expand_as(x), x)
    x = blurred(x, plan.sigma, int(np.ceil(3 * recipe.sigma[1])))
    x = torch.where(plan.solarise[:, None, None, None] & (x >= 127.5), 255 - x, x)
    return erased(x, plan.erase)


def resized(crops: Tensor, box: Tensor, flip: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes of crops uint8 [B, 3, H, W] at one size, as `images.resize` brings them there, some then flipped."""
    top, left, height, width = box.T
    shrink = (height > size[0]) & (width > size[1])
    down = _weights(top, height, crops.shape[2], size[0], shrink)
    across = _weights(left, width, crops.shape[3], size[1], shrink)
    across = torch.where(flip[:, None, None], across.flip(1), across)
    return down[:, None] @ crops.float() @ across[:, None].mT


def _weights(start: Tensor, length: Tensor, whole: int, size: int, shrink: Tensor) -> Tensor:
    """How much of each of `whole` pixels goes into each of `size` that show `length` of them from `start` on.

    float32 [B, size, whole], rows summing to 1: means over areas where `shrink`, else bilinear.
    """
    at = torch.arange(whole, device=start.device, dtype=torch.float32) - start[:, None, None]
    step = (length / size)[:, None, None]
    i = torch.arange(size, device=start.device, dtype=torch.float32)[:, None]
    covered = torch.minimum((i + 1) * step, at + 1) - torch.maximum(i * step, at)
    last = (length - 1)[:, None, None].float()
    centre = ((i + 0.5) * step - 0.5).clamp_min(0).minimum(last)
    inside = (at >= 0) & (at <= last)
    near = (1 - (at - centre).abs()).clamp_min(0)
    return torch.where(shrink[:, None, None], covered.clamp_min(0) / step, near * inside)


def luma(x: Tensor) -> Tensor:
    """Grey [B, 1, H, W] of RGB [B, 3, H, W]."""
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Every value times `factor` [B, 1, 1, 1]."""
    return (x * factor).clamp(0, 255)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Away from (or towards) the mean grey of each image by `factor`."""
    mean = luma(x).mean((2, 3), keepdim=True)
    return (mean + (x - mean) * factor).clamp(0, 255)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Away from (or towards) each pixel's grey by `factor`."""
    grey = luma(x)
    return (grey + (x - grey) * factor).clamp(0, 255)


def hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle by `turn` of a whole turn."""
    value, least = x.amax(1), x.amin(1)
    chroma = value - least
    red, green, blue = x.unbind(1)
    safe = chroma.clamp_min(1e-9)
    sector = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sector = torch.where(value == red, (green - blue) / safe, sector)
    sector = torch.where(chroma > 0, sector, 0) + 6 * turn[:, 0]
    # Each channel is the value, less the chroma as far as the hue lies from the channel's own third of the circle.
    away = [((sector + shift) % 6) for shift in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in away], 1)


def _rows(chosen: Tensor, device: torch.device) -> Tensor:
    """Where bool [B], on the CPU, is true; int64 on the device."""
    return torch.nonzero(chosen)[:, 0].to(device, non_blocking=True)


def blurred(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur of each image by its own sigma [B] in pixels (0: none; on the CPU), reflected at the edges.

    radius: of the largest kernel; each image's own reaches 3 sigma, rounded up.
    """
    rows = _rows(sigma > 0, x.device)
    if not len(rows):
        return x
    some, s = x[rows], sigma[sigma > 0, None].to(x.device, non_blocking=True)
    offset = torch.arange(-radius, radius + 1, device=x.device)
    kernel = torch.exp(-0.5 * (offset / s) ** 2) * (offset.abs() <= torch.ceil(3 * s))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]
    stack = F.pad(some.flatten(0, 1)[None], (radius,) * 4, "reflect")
    stack = F.conv2d(stack, kernel[:, :, None], groups=len(kernel))
    stack = F.conv2d(stack, kernel[:, :, :, None], groups=len(kernel))
    x = x.clone()
    x[rows] = stack[0].unflatten(0, some.shape[:2])
    return x


def erased(x: Tensor, box: Tensor) -> Tensor:
    """Cover each image's box int64 [B, 4] (top, left, height, width) with the mean colour."""
    top, left, height, width = (side[:, None, None] for side in box.T)
    row = torch.arange(x.shape[2], device=x.device)[:, None]
    column = torch.arange(x.shape[3], device=x.device)
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return torch.where(inside[:, None], x.new_tensor(FILL)[:, None, None], x)
