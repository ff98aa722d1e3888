"""fast-reid's ResNets with their heads, under the module names of its checkpoints.

A name says the recipe, the depth, and what differs: `bagtricks` (BoT), `sbs` (stronger baseline) or
`mgn`; r50 or r101; `_ibn`. A feature is what fast-reid's own evaluation gives: after the batch norm
of the head ("BN neck").

Checkpoints do not tell everything. What is built here is what fast-reid has had since its version
1.0: the first pooling has no padding, and a non-local block has one inner channel. Blocks of half
their channels, which some revisions had, are names of their own, that end in `_half`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from cion_core.zoo.resnet import IBN

BLOCKS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}
# How many of the last blocks of layers 2 and 3 are followed by a non-local block.
NONLOCAL = {"r50": (2, 3), "r101": (2, 9)}
EXPANSION = 4
WIDTH = 2048  # channels of layer 4
REDUCED = 256  # numbers of each of MGN's eight parts
PARTS = (
    "b1_head",
    "b2_head",
    "b3_head",
    "b21_head",
    "b22_head",
    "b31_head",
    "b32_head",
    "b33_head",
)
SURPLUS = ("weight", "classifier", "cls_layer")  # of a head: what only its training needs


class Bottleneck(nn.Module):
    """ResNet's block: 1x1, 3x3 and 1x1 convolutions beside a shortcut.

    [B, channels, H, W] -> [B, EXPANSION * width, H / stride, W / stride].

    Args:
        channels: of what comes in.
        width: channels of the 3x3 convolution.
        stride: of the 3x3 convolution.
        ibn: whether the first norm is IBN.
        shortcut: whether the shortcut has a convolution, as where size or channels change.
    """

    def __init__(
        self, channels: int, width: int, stride: int = 1, ibn: bool = False, shortcut: bool = False
    ) -> None:
        super().__init__()
        out = EXPANSION * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = IBN(width) if ibn else nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if shortcut:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(residual + shortcut)


def layer(channels: int, width: int, count: int, stride: int, ibn: bool) -> list[Bottleneck]:
    """Make the blocks of one of ResNet's layers, the first of which changes size and width.

    Args:
        channels: of what comes in.
        width: channels of the blocks' 3x3 convolutions.
        count: of blocks.
        stride: of the first one.
        ibn: whether the blocks' first norm is IBN.
    """
    first = Bottleneck(channels, width, stride, ibn, shortcut=True)
    return [first, *(Bottleneck(EXPANSION * width, width, ibn=ibn) for _ in range(count - 1))]


class NonLocal(nn.Module):
    """Adds to each place a mean of all places, weighted by their likeness to it.

    Wang et al., "Non-local Neural Networks", CVPR 2018, without a softmax.

    Args:
        channels: of the feature maps [B, channels, H, W] that go in and come out.
        inner: channels in which places are compared.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, inner, 1)
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        nn.init.zeros_(self.W[1].weight)  # so that training begins without it

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = self.g(x).flatten(2)
        queries = self.theta(x).flatten(2)
        keys = self.phi(x).flatten(2)
        likeness = queries.transpose(1, 2) @ keys
        places = likeness.shape[-1]
        mean = (likeness / places) @ values.transpose(1, 2)
        return x + self.W(mean.transpose(1, 2).unflatten(2, x.shape[2:]))


class Backbone(nn.Module):
    """ResNet of last stride 1; [B, 3, H, W] -> [B, WIDTH, H / 16, W / 16].

    Args:
        depth: r50 or r101.
        ibn: whether the first norm of the blocks of layers 1 to 3 is IBN.
        inner: maps the channels of feature maps to the inner channels of their non-local blocks;
            None for no blocks.
    """

    def __init__(self, depth: str, ibn: bool, inner: dict[int, int] | None = None) -> None:
        super().__init__()
        first, second, third, fourth = BLOCKS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.layer1 = nn.Sequential(*layer(64, 64, first, 1, ibn))
        self.layer2 = nn.Sequential(*layer(256, 128, second, 2, ibn))
        self.layer3 = nn.Sequential(*layer(512, 256, third, 2, ibn))
        self.layer4 = nn.Sequential(*layer(1024, 512, fourth, 1, False))
        counts = NONLOCAL[depth] if inner else (0, 0)
        self.NL_2 = nn.ModuleList(NonLocal(512, inner[512]) for _ in range(counts[0]))
        self.NL_3 = nn.ModuleList(NonLocal(1024, inner[1024]) for _ in range(counts[1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = run_interleaved(self.layer2, self.NL_2, x)
        x = run_interleaved(self.layer3, self.NL_3, x)
        return self.layer4(x)


def run_interleaved(
    blocks: nn.Sequential, nonlocals: nn.ModuleList, x: torch.Tensor
) -> torch.Tensor:
    """Run a layer whose last blocks are each followed by a non-local block.

    Args:
        blocks: of the layer.
        nonlocals: at most as many as there are blocks.
        x: float [B, C, H, W].
    """
    plain = len(blocks) - len(nonlocals)
    for index, block in enumerate(blocks):
        x = block(x)
        if index >= plain:
            x = nonlocals[index - plain](x)
    return x


class GeneralisedMean(nn.Module):
    """Generalised mean pooling (GeM): the p-th root of the mean of p-th powers, p learnt.

    [B, C, H, W] -> [B, C, 1, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        powers = x.clamp(min=1e-6).pow(self.p)
        return F.adaptive_avg_pool2d(powers, 1).pow(1 / self.p)


class Head(nn.Module):
    """Pooling and the BN neck; [B, WIDTH, H, W] -> [B, reduced or WIDTH].

    Args:
        generalised: whether to pool by `GeneralisedMean`; else by the mean.
        reduced: channels to which a convolution reduces the maps first; 0: none does.
    """

    def __init__(self, generalised: bool, reduced: int = 0) -> None:
        super().__init__()
        self.pool_layer = GeneralisedMean() if generalised else nn.AdaptiveAvgPool2d(1)
        reduction = [nn.Conv2d(WIDTH, reduced, 1, bias=False)] if reduced else []
        self.bottleneck = nn.Sequential(*reduction, nn.BatchNorm2d(reduced or WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bottleneck(self.pool_layer(x)).flatten(1)


class FastReid(nn.Module):
    """One backbone and one head: BoT and SBS.

    float [B, 3, H, W], normalised -> float [B, WIDTH].

    Args:
        backbone: makes the feature maps.
        generalised: as in `Head`.
    """

    num_features = WIDTH
    heads_of_training = tuple(f"heads.{name}" for name in SURPLUS)

    def __init__(self, backbone: Backbone, generalised: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = Head(generalised)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads(self.backbone(x))


class FastReidMGN(nn.Module):
    """A shared backbone, three branches and eight heads (Wang et al., ACM MM 2018).

    The second branch is also seen in two stripes, the third in three. float [B, 3, H, W],
    normalised -> float [B, num_features].

    Args:
        depth: r50 or r101.
        ibn: as in `Backbone`.
    """

    num_features = REDUCED * len(PARTS)
    heads_of_training = tuple(f"{part}.{name}" for part in PARTS for name in SURPLUS)

    def __init__(self, depth: str, ibn: bool) -> None:
        super().__init__()
        whole = Backbone(depth, ibn)
        self.backbone = nn.Sequential(
            whole.conv1,
            whole.bn1,
            whole.relu,
            whole.maxpool,
            whole.layer1,
            whole.layer2,
            whole.layer3[0],
        )
        count = BLOCKS[depth][2] - 1
        for branch in ("b1", "b2", "b3"):
            fourth = nn.Sequential(*(Bottleneck(1024, 256, ibn=ibn) for _ in range(count)))
            fifth = nn.Sequential(*layer(1024, 512, BLOCKS[depth][3], 1, False))
            self.add_module(branch, nn.Sequential(fourth, fifth))
        for part in PARTS:
            self.add_module(part, Head(generalised=True, reduced=REDUCED))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shared = self.backbone(x)
        first, second, third = self.b1(shared), self.b2(shared), self.b3(shared)
        # Torso and legs of the second branch; head, torso and legs of the third.
        stripes = (*second.chunk(2, dim=2), *third.chunk(3, dim=2))
        maps = (first, second, third, *stripes)
        return torch.cat(
            [getattr(self, part)(seen) for part, seen in zip(PARTS, maps, strict=True)], dim=1
        )


def fastreid(name: str) -> FastReid | FastReidMGN:
    """Make one of fast-reid's models, of random weights.

    Args:
        name: one of `names.BROUGHT["fast-reid"]`.
    """
    recipe, depth, *rest = name.split("_")[1:]
    ibn = "ibn" in rest
    if recipe == "mgn":
        return FastReidMGN(depth, ibn)
    if recipe == "bagtricks":
        return FastReid(Backbone(depth, ibn), generalised=False)
    inner = {512: 256, 1024: 512} if "half" in rest else {512: 1, 1024: 1}
    return FastReid(Backbone(depth, ibn, inner), generalised=True)
