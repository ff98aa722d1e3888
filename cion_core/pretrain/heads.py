"""Projection heads between a backbone's features and a loss.

They are thrown away after pre-training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.pretrain.fused import cosines


class DinoHead(nn.Module):
    """Three layers to a normalised bottleneck, then prototypes (Caron et al. 2021, section 3.1).

    [R, in_dim] -> logits [R, out_dim], each a cosine in [-1, 1]: the last layer is
    weight-normalised with its gain fixed at 1, here by normalising its rows instead of keeping a
    gain that must not learn.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden: int,
        bottleneck: int,
        batch_norm: bool,
        last_layer: str = "linear",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (in_dim, hidden):
            layers.append(nn.Linear(width, hidden))
            if batch_norm:
                layers.append(nn.BatchNorm1d(hidden))
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.empty(out_dim, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        if last_layer == "linear":
            nn.init.kaiming_uniform_(self.prototypes, a=math.sqrt(5))  # as PyTorch's Linear
        else:
            nn.init.trunc_normal_(self.prototypes, std=0.02)

    def bottleneck(self, features: Tensor) -> Tensor:
        """What prototypes are compared with: [R, in_dim] to unit vectors [R, bottleneck]."""
        return F.normalize(self.mlp(features))

    def forward(self, features: Tensor) -> Tensor:
        return cosines(self.bottleneck(features), self.prototypes)


def load_published_head(state: Mapping[str, Tensor]) -> DinoHead:
    """The head of a published checkpoint, of the checkpoint's width.

    One published script has 65,336 outputs, all others have 65,536.

    Args:
        state: `mlp.N.weight` and `mlp.N.bias` without batch norm, and `last_layer.weight_v`, the
            rows before they are normalised; the gain of 1, `last_layer.weight_g`, is not needed.

    Raises:
        RuntimeError: keys or shapes that are not such a head's.
    """
    rows = state["last_layer.weight_v"]
    hidden, in_dim = state["mlp.0.weight"].shape
    out_dim, bottleneck = rows.shape
    head = DinoHead(in_dim, out_dim, hidden, bottleneck, batch_norm=False)
    layers = {key: value for key, value in state.items() if key.startswith("mlp.")}
    head.load_state_dict({**layers, "prototypes": rows})
    return head


class MocoHead(nn.Sequential):
    """Two layers to an embedding (MoCo v2, Chen et al. 2020).

    [R, in_dim] -> [R, dim], not normalised.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__(nn.Linear(in_dim, in_dim), nn.ReLU(), nn.Linear(in_dim, dim))
