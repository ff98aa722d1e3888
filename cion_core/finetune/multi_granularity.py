"""The network of MGN.

Wang et al. 2018, "Learning discriminative features with multiple granularities", section 3.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cion_core.errors import CionError
from cion_core.finetune.heads import Head
from cion_core.zoo.names import DEMO, STRUCTURES

# The backbones that it is made of.
FAMILY = (*STRUCTURES["ResNet"], *STRUCTURES["ResNet-IBN"], DEMO)
STRIPES = (1, 2, 3)  # into how many each branch cuts its map, from top to bottom
DIM = 256  # width of a head's feature
# One head for each branch's whole map, and one for each stripe: 3 + 2 + 3.
HEADS = len(STRIPES) + sum(count for count in STRIPES if count > 1)


class MultiGranularity(nn.Module):
    """A ResNet whose last blocks are there three times, each looking at finer stripes of a person.

    Images [B, 3, H, W] to float32 [B, 2048]: eight features of 256, of the whole maps of branches
    1, 2 and 3, then of the stripes of branch 2, then of those of branch 3, each from top to bottom.

    Shared is all up to the first block of layer3. A branch begins as a copy of the pre-trained
    rest, layer3[1:] and layer4, followed by a batch norm of its own. Stripes are equal where the
    rows of a map can be shared out (24 rows of a 384x128 image: 2 x 12 and 3 x 8); where not, upper
    ones are a row higher (8 rows: 3, 3, 2).

    Raises:
        CionError: when called with images too low for three stripes.
    """

    def __init__(self, backbone: nn.Module) -> None:
        """backbone: a ResNet of the zoo, one of FAMILY; its modules are taken over."""
        super().__init__()
        first, *rest = backbone.layer3
        stem = (backbone.conv1, backbone.bn1, backbone.act1, backbone.maxpool)
        self.trunk = nn.Sequential(*stem, backbone.layer1, backbone.layer2, first)
        tail = nn.Sequential(nn.Sequential(*rest), backbone.layer4)
        self.branches = nn.ModuleList(copy.deepcopy(tail) for _ in STRIPES)
        self.norms = nn.ModuleList(nn.BatchNorm2d(backbone.num_features) for _ in STRIPES)
        self.heads = nn.ModuleList(Head(backbone.num_features, DIM) for _ in range(HEADS))
        self.num_features = HEADS * DIM

    @property
    def pretrained(self) -> list[nn.Module]:
        """What it has of the backbone; the rest is new."""
        return [self.trunk, self.branches]

    def forward(self, images: Tensor) -> Tensor:
        shared = self.trunk(images)
        branches = zip(self.branches, self.norms, strict=True)
        maps = [norm(branch(shared)) for branch, norm in branches]
        rows = maps[0].shape[2]
        if rows < max(STRIPES):
            raise CionError(
                f"images of {images.shape[2]} rows leave maps of {rows}, which cannot be cut into "
                f"{max(STRIPES)} stripes; valid: a height of at least "
                f"{images.shape[2] // rows * max(STRIPES)}"
            )
        stripes = []
        for branch_map, count in zip(maps, STRIPES, strict=True):
            if count > 1:
                stripes += branch_map.tensor_split(count, dim=2)
        parts = [*maps, *stripes]
        features = [head(part) for head, part in zip(self.heads, parts, strict=True)]
        return torch.cat(features, dim=1)
