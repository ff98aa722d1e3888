"""ResNets as person re-identification uses them: last stride 1, and IBN-a in stages 1 to 3.

IBN-a: Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV
2018, §3.
"""

from __future__ import annotations

import torch
from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.models.resnet import BasicBlock, Bottleneck, ResNet


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest.

    [B, channels, H, W] -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.split((self.half, x.shape[1] - self.half), dim=1)
        if stays_channels_last(x):
            first = channels_last_instance_norm(first, self.IN)
        else:
            first = self.IN(first)
        return torch.cat((first, self.BN(second)), dim=1)


def stays_channels_last(x: torch.Tensor) -> bool:
    """Whether x [B, C, H, W] is laid out as a GPU's tensor cores want it.

    Never so on a CPU, where torch's own norm takes any layout.
    """
    return (
        x.device.type != "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def channels_last_instance_norm(x: torch.Tensor, norm: nn.InstanceNorm2d) -> torch.Tensor:
    """Normalise as `norm` does, without leaving the channels-last layout.

    torch's own would copy x to another layout, and back.

    Args:
        x: float [B, C, H, W] of any precision; sums are float32.
        norm: of C channels, affine.

    Returns:
        As x.
    """
    values = x.float()
    variance, mean = torch.var_mean(values, (2, 3), correction=0, keepdim=True)
    scale = (variance + norm.eps).rsqrt() * norm.weight[:, None, None]
    normal = (values - mean) * scale + norm.bias[:, None, None]
    return normal.to(x.dtype)


def set_last_stride(model: ResNet) -> ResNet:
    """Give layer4 stride 1, in place, undilated.

    timm's output_stride=16 would dilate it, which is another network.

    Returns:
        `model`.
    """
    block = model.layer4[0]
    conv = block.conv1 if isinstance(block, BasicBlock) else block.conv2
    conv.stride = (1, 1)
    block.downsample[0].stride = (1, 1)
    return model


def start_blocks_open(model: ResNet) -> ResNet:
    """Let each block's last norm start at 1, in place, as published.

    timm's starts at 0, so that a block does nothing at first.

    Returns:
        `model`.
    """
    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last_norm = block.bn2 if isinstance(block, BasicBlock) else block.bn3
            nn.init.ones_(last_norm.weight)
    return model


def add_ibn(model: ResNet) -> ResNet:
    """Replace bn1 of every block in layers 1 to 3 by IBN, in place.

    Layer 4 keeps batch norm, since instance norm would take away what tells people apart.

    Returns:
        `model`.
    """
    for layer in (model.layer1, model.layer2, model.layer3):
        for block in layer:
            block.bn1 = IBN(block.bn1.num_features)
    return model


def resnet10_ibn() -> ResNet:
    """Make the demo's backbone, of random weights.

    It has [1, 1, 1, 1] basic blocks of width 32, and a stem that halves its input only once. A
    64x32 image leaves layer 4 as 8x4; a 32x16 local view as 4x2.
    """
    model = ResNet(
        BasicBlock, (1, 1, 1, 1), num_classes=0, channels=(32, 64, 128, 256),
        stem_type="deep", stem_width=16, zero_init_last=False,
    )  # fmt: skip
    model.maxpool = nn.Identity()
    return add_ibn(set_last_stride(model))
