"""Layers on top of feature maps: a narrow feature, and a classifier by cosines with a margin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, one_hot

from cion_core.finetune.pooling import GeM

SPREAD = 0.02  # standard deviation of the first weights of a head's batch norm, around 1
SCALE, MARGIN = 64.0, 0.35  # of the circle softmax


class Head(nn.Module):
    """GeM, a 1x1 convolution without bias, batch norm without shift.

    Maps [B, width, H, W] to float32 [B, dim]. After pooling a 1x1 convolution is a linear layer.
    All of it stays in float32 under autocast, as the distances that are taken from it must.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.pool = GeM()
        self.reduce = nn.Linear(width, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out")
        nn.init.normal_(self.norm.weight, 1.0, SPREAD)
        self.norm.bias.requires_grad_(False)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = self.pool(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return self.norm(self.reduce(pooled))


class Cosines(nn.Module):
    """Features float [B, dim] to their cosines with a weight per person, [B, people]."""

    def __init__(self, dim: int, people: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(people, dim))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: Tensor) -> Tensor:
        return linear(normalize(features), normalize(self.weight))


def circle_logits(
    cosines: Tensor, people: Tensor, scale: float = SCALE, margin: float = MARGIN
) -> Tensor:
    """Logits of the circle softmax (Sun et al. 2020, "Circle loss", section 3.2), by classes.

    Of a cosine c, with scale s and margin m:

        the right person      s · [1 + m - c]₊ · (c - 1 + m)
        everybody else        s · [c + m]₊ · (c - m)

    The brackets say how far a cosine still is from where it should be (1 + m, -m). They weigh its
    gradient, and have none of their own. With m = 0.35, the right person at c = 0.5 is weighed by
    0.85 and another at c = 0.5 by as much, one at c = -0.5 not at all.

    Args:
        cosines: float [B, C].
        people: int64 [B]; who each row is, of C.
        scale, margin: s and m.

    Returns:
        float [B, C].
    """
    right_weight = (1 + margin - cosines).detach().relu()
    wrong_weight = (cosines + margin).detach().relu()
    right = right_weight * (cosines - (1 - margin))
    wrong = wrong_weight * (cosines - margin)
    is_right = one_hot(people, cosines.shape[1]).bool()
    return scale * torch.where(is_right, right, wrong)
