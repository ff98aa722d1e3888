"""Projection heads between a backbone's features and a loss; they are thrown away after pre-training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.pretrain.fused import cosines


class DinoHead(nn.Module):
    """Three layers to a normalised bottleneck, then prototypes (Caron et al. 2021, section 3.1).

    [R, in_dim] -> logits [R, out_dim], each a cosine in [-1, 1]: the last layer is weight-normalised with its gain
    fixed at 1, here by normalising its rows instead of keeping a gain that must not learn.
    """

    def __init__(self, in_dim: int, out_dim: int, hidden: int, bottleneck: int, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (in_dim, hidden):
            layers += [nn.Linear(width, hidden), *([nn.BatchNorm1d(hidden)] if batch_norm else []), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.empty(out_dim, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def bottleneck(self, features: Tensor) -> Tensor:
        """What the prototypes are compared with: unit vectors [R, bottleneck] of features [R, in_dim]."""
        return F.normalize(self.mlp(features))

    def forward(self, features: Tensor) -> Tensor:
        return cosines(self.bottleneck(features), self.prototypes)


class MocoHead(nn.Sequential):
    """Two layers to an embedding (MoCo v2, Chen et al. 2020): [R, in_dim] -> [R, dim], not normalised."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__(nn.Linear(in_dim, in_dim), nn.ReLU(), nn.Linear(in_dim, dim))
