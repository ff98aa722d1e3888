"""Generalised-mean pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GeM(nn.Module):
    """The p-norm mean of each channel, p being learnt (Radenović et al. 2018).

    Feature maps [B, C, H, W] to [B, C]. The larger p, the nearer to the maximum; 1 is the mean.
    Values below 1e-6 count as 1e-6.
    """

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), power))

    def forward(self, maps: Tensor) -> Tensor:
        # In float32: cubes of what float16 holds may overflow.
        with torch.autocast(maps.device.type, enabled=False):
            powers = maps.float().clamp(min=1e-6).pow(self.p)
            return powers.mean((2, 3)).pow(1 / self.p)
