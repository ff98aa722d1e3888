"""From images to a model's input: the one place that normalises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from cion_core.images import resize
from cion_core.zoo.card import Card, Triple


def to_tensor(
    images: Sequence[np.ndarray], how: Card | tuple[tuple[int, int], Triple, Triple]
) -> torch.Tensor:
    """Bring images to a model's size, and normalise them.

    Args:
        images: RGB uint8 [H, W, 3] of any sizes, n of them.
        how: a model's card; or (size, mean, std) with size as (height, width), and images are
            resized in the project's own way.

    Returns:
        float32 [n, 3, height, width].
    """
    if isinstance(how, Card):
        size, mean, std, way = how.image, how.mean, how.std, how.resize
    else:
        size, mean, std = how
        way = ""
    pixels = torch.from_numpy(stack(images, size, way))
    return normalise(pixels, mean, std)


def stack(images: Sequence[np.ndarray], size: tuple[int, int], way: str = "") -> np.ndarray:
    """Bring images to one size.

    Args:
        images: RGB uint8 [H, W, 3] of any sizes, n of them.
        size: (height, width).
        way: as in `images.resize`.

    Returns:
        uint8 [n, height, width, 3].
    """
    batch = np.empty((len(images), *size, 3), np.uint8)
    for out, image in zip(batch, images, strict=True):
        out[:] = image if image.shape[:2] == size else resize(image, size, way)
    return batch


def normalise(batch: torch.Tensor, mean: Triple, std: Triple) -> torch.Tensor:
    """Normalise a batch where it lies.

    Args:
        batch: RGB uint8 [n, H, W, 3] on any device.
        mean: per channel of images scaled to 0..1.
        std: as `mean`.

    Returns:
        float32 [n, 3, H, W], on the same device.
    """
    scale, shift = _factors(tuple(mean), tuple(std), batch.device)
    return batch.permute(0, 3, 1, 2).float().mul_(scale).sub_(shift).contiguous()


@lru_cache(maxsize=16)
def _factors(mean: Triple, std: Triple, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """What values of 0 to 255 are multiplied by, and what is then taken off, [1, 3, 1, 1] each.

    They are brought to a device once: that is waited for, which would end the work that goes on
    there meanwhile.
    """
    with torch.inference_mode(False):  # whoever asks first, they are of use to all
        deviation = torch.tensor(std, device=device)
        scale = deviation.mul(255).reciprocal()
        shift = torch.tensor(mean, device=device).div(deviation)
    return scale.view(1, 3, 1, 1), shift.view(1, 3, 1, 1)


def take_rgb(model: nn.Module) -> None:
    """Turn a model that takes BGR images into the same one for RGB, in place.

    Its first kernels get their input channels in reverse order.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
                module.weight.copy_(module.weight.flip(1))
