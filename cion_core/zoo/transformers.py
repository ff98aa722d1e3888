"""Vision transformers as the published zoo has them, built on timm's.

What differs from timm was measured on the published models: the ViTs have a convolutional stem with
IBN, ViT and VOLO resize their position embedding to the input's grid, Swin has windows of 8 at
every size.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm
from timm.models.vision_transformer import VisionTransformer
from timm.models.volo import VOLO

from cion_core.zoo.resnet import IBN

_VIT = {"vit_tiny": (192, 3), "vit_small": (384, 6), "vit_base": (768, 12)}  # width, heads
_CLASSES = 1000  # of the published ViTs' unused classifier


def resize_grid(embedding: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a position embedding, bicubic, by the published scale (size + 0.1) / H.

    Args:
        embedding: float [1, H, W, C].
        size: (height, width) that is wanted.

    Returns:
        float [1, H, W, C] of `size`.
    """
    if embedding.shape[1:3] == size:
        return embedding
    factor = tuple((new + 0.1) / old for new, old in zip(size, embedding.shape[1:3], strict=True))
    resized = F.interpolate(embedding.permute(0, 3, 1, 2), scale_factor=factor, mode="bicubic")
    return resized.permute(0, 2, 3, 1)


class ConvStem(nn.Module):
    """Three convolutions, then patches: [B, 3, H, W] -> [B, H / 16, W / 16, embed_dim]."""

    def __init__(
        self, img_size: tuple[int, int], embed_dim: int, width: int = 64, **_: object
    ) -> None:
        super().__init__()
        convolution = partial(nn.Conv2d, out_channels=width, bias=False)
        self.conv = nn.Sequential(
            convolution(3, kernel_size=7, stride=2, padding=3),
            IBN(width),
            nn.ReLU(inplace=True),
            convolution(width, kernel_size=3, padding=1),
            IBN(width),
            nn.ReLU(inplace=True),
            convolution(width, kernel_size=3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.proj = nn.Conv2d(width, embed_dim, kernel_size=8, stride=8)
        self.grid_size = (img_size[0] // 16, img_size[1] // 16)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(self.conv(x)).permute(0, 2, 3, 1)


class ReidViT(VisionTransformer):
    """The class token of a ViT with `ConvStem`.

    `fc` is published with the weights and never used: frozen.
    """

    def __init__(self, img_size: tuple[int, int], embed_dim: int, num_heads: int) -> None:
        super().__init__(
            img_size, embed_dim=embed_dim, num_heads=num_heads, num_classes=0, embed_layer=ConvStem,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )  # fmt: skip
        self.fc = nn.Linear(embed_dim, _CLASSES).requires_grad_(False)

    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = x.shape
        # The class token has a position of its own, before those of the grid.
        first = self.pos_embed[:, :1]
        grid = self.pos_embed[:, 1:].unflatten(1, self.patch_embed.grid_size)
        resized = resize_grid(grid, (height, width))
        position = torch.cat((first, resized.flatten(1, 2)), dim=1)
        class_token = self.cls_token.expand(batch, -1, -1)
        tokens = torch.cat((class_token, x.flatten(1, 2)), dim=1)
        return self.pos_drop(tokens + position)


class ReidVOLO(VOLO):
    """VOLO whose position embedding follows the input's size."""

    def forward_tokens(self, x: torch.Tensor) -> torch.Tensor:
        for index, block in enumerate(self.network):
            if index == 2:  # after the outlook blocks
                x = self.pos_drop(x + resize_grid(self.pos_embed, x.shape[1:3]))
            x = block(x)
        return x.flatten(1, 2)


def vit(name: str, img_size: tuple[int, int]) -> ReidViT:
    """Make vit_tiny, vit_small or vit_base, of random weights.

    Args:
        name: one of the three.
        img_size: (height, width) that it is built for.
    """
    return ReidViT(img_size, *_VIT[name])


def volo(name: str, img_size: tuple[int, int]) -> VOLO:
    """Make volo_d1, volo_d2 or volo_d3, of random weights.

    Args:
        name: one of the three.
        img_size: (height, width) that it is built for.
    """
    model = timm.create_model(f"{name}_224", num_classes=0, img_size=img_size)
    # timm keeps each variant's layout to itself; only the forward differs
    model.__class__ = ReidVOLO
    return model


def swin(name: str, img_size: tuple[int, int]) -> nn.Module:
    """Make swin_tiny, swin_small or swin_base, of random weights.

    Windows of 8, padded and shifted at every size, as published.

    Args:
        name: one of the three.
        img_size: (height, width) that it is built for.
    """
    return timm.create_model(
        f"{name}_patch4_window7_224",
        num_classes=0,
        img_size=img_size,
        window_size=8,
        strict_img_size=False,
        always_partition=True,
    )
