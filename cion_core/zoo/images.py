"""From images to a model's input: the one place that normalises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cion_core.images import resize
from cion_core.zoo.card import Card, Triple


def to_tensor(images: Sequence[np.ndarray], how: Card | tuple[tuple[int, int], Triple, Triple]) -> torch.Tensor:
    """RGB uint8 images [H, W, 3] of any sizes -> float32 [n, 3, height, width], normalised.

    `how` is a model's card, or (size (height, width), mean, std), and images are resized in the project's own way.
    """
    size, mean, std, way = (how.image, how.mean, how.std, how.resize) if isinstance(how, Card) else (*how, "")
    batch = np.empty((len(images), *size, 3), np.uint8)
    for out, image in zip(batch, images, strict=True):
        out[:] = resize(image, size, way)
    scale = torch.tensor(std).mul(255).reciprocal().view(1, 3, 1, 1)
    shift = torch.tensor(mean).div(torch.tensor(std)).view(1, 3, 1, 1)
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float().mul_(scale).sub_(shift).contiguous()
