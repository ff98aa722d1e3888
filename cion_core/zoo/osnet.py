"""OSNet, with the module names of the published checkpoints, so that these load as they are.

Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, and "Learning
Generalisable Omni-Scale Representations", TPAMI 2021 (OSNet-AIN).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

STREAMS = 4  # of a block: the t-th sees t light convolutions, so a field of 2t + 1 pixels
BOTTLENECK = 4  # by which a block narrows its channels
GATE = 16  # by which the gate narrows them once more
FEATURES = 512  # numbers of a feature, whatever the width
WIDTHS = {
    "osnet_x1_0": (64, 256, 384, 512),
    "osnet_x0_75": (48, 192, 288, 384),
    "osnet_x0_5": (32, 128, 192, 256),
    "osnet_x0_25": (16, 64, 96, 128),
    "osnet_ibn_x1_0": (64, 256, 384, 512),
    "osnet_ain_x1_0": (64, 256, 384, 512),
}
# Where OSNet-AIN's search has put instance norm, of each stage's two blocks.
AIN_BLOCKS = ((True, True), (False, True), (True, False))


class ConvNorm(nn.Module):
    """A convolution, its norm, and a ReLU unless `linear`; [B, C, H, W] -> [B, out, H', W']."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, stride: int = 1, *,
        linear: bool = False, norm: type[nn.Module] | None = nn.BatchNorm2d,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = None
        if norm is not None:
            self.bn = norm(out, affine=True)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return x if self.linear else F.relu(x)


class LightConvolution(nn.Module):
    """A 3x3 convolution in two: across channels (1x1), then across pixels (3x3).

    The second takes each channel alone. [B, channels, H, W] -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv2(self.conv1(x))))


class Stream(nn.Module):
    """Light convolutions in a row, as OSNet-AIN names them; [B, C, H, W] -> the same."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LightConvolution(channels) for _ in range(depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Gate(nn.Module):
    """Weighs each channel by what the whole image shows of it; all streams share one gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // GATE, 1)
        self.fc2 = nn.Conv2d(channels // GATE, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(pooled))))


class Block(nn.Module):
    """A residual block of streams of several scales; [B, C, H, W] -> [B, out, H, W].

    Args:
        channels: of the input.
        out: channels of the output.
        instance: whether the sum of residual and input is instance-normalised (OSNet-IBN).
    """

    def __init__(self, channels: int, out: int, instance: bool = False) -> None:
        super().__init__()
        inner = out // BOTTLENECK
        self.conv1 = ConvNorm(channels, inner)
        self._add_streams(inner)
        self.gate = Gate(inner)
        self._add_end(inner, out, instance)
        self.downsample = None
        if channels != out:
            self.downsample = ConvNorm(channels, out, linear=True)

    def _add_streams(self, inner: int) -> None:
        self.conv2a = LightConvolution(inner)
        self.conv2b = nn.Sequential(*(LightConvolution(inner) for _ in range(2)))
        self.conv2c = nn.Sequential(*(LightConvolution(inner) for _ in range(3)))
        self.conv2d = nn.Sequential(*(LightConvolution(inner) for _ in range(4)))

    def _add_end(self, inner: int, out: int, instance: bool) -> None:
        self.conv3 = ConvNorm(inner, out, linear=True)
        self.IN = nn.InstanceNorm2d(out, affine=True) if instance else None

    def streams(self) -> list[nn.Module]:
        """The streams, from the smallest scale to the largest."""
        return [self.conv2a, self.conv2b, self.conv2c, self.conv2d]

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """The streams' gated sum, at the output's width; [B, channels, H, W] -> [B, out, H, W]."""
        narrow = self.conv1(x)
        return self.conv3(sum(self.gate(stream(narrow)) for stream in self.streams()))

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        """The input at the output's width; [B, channels, H, W] -> [B, out, H, W]."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.residual(x) + self.shortcut(x)
        if self.IN is not None:
            total = self.IN(total)
        return F.relu(total)


class AinBlock(Block):
    """OSNet-AIN's block, whose streams are named otherwise.

    Where `instance` is asked for, it normalises the residual alone.
    """

    def _add_streams(self, inner: int) -> None:
        self.conv2 = nn.ModuleList(Stream(inner, depth) for depth in range(1, STREAMS + 1))

    def _add_end(self, inner: int, out: int, instance: bool) -> None:
        self.conv3 = ConvNorm(inner, out, linear=True, norm=None if instance else nn.BatchNorm2d)
        self.IN = nn.InstanceNorm2d(out, affine=True) if instance else None

    def streams(self) -> list[nn.Module]:
        return list(self.conv2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.residual(x)
        if self.IN is not None:
            residual = self.IN(residual)
        return F.relu(residual + self.shortcut(x))


class OSNet(nn.Module):
    """Images to features: float [B, 3, H, W], normalised -> float [B, FEATURES].

    Args:
        widths: channels of the stem and of the three stages.
        ibn: whether the stem and the first stage are instance-normalised (OSNet-IBN).
    """

    num_features = FEATURES

    def __init__(self, widths: tuple[int, int, int, int], ibn: bool = False) -> None:
        super().__init__()
        stem, first, second, third = widths
        stem_norm = nn.InstanceNorm2d if ibn else nn.BatchNorm2d
        self.conv1 = ConvNorm(3, stem, kernel=7, stride=2, norm=stem_norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Sequential(
            Block(stem, first, ibn), Block(first, first, ibn), make_transition(first)
        )
        self.conv3 = nn.Sequential(
            Block(first, second), Block(second, second), make_transition(second)
        )
        self.conv4 = nn.Sequential(Block(second, third), Block(third, third))
        self._add_head(third)

    def _add_head(self, channels: int) -> None:
        self.conv5 = ConvNorm(channels, channels)
        self.fc = nn.Sequential(nn.Linear(channels, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.apply(initialise)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps before pooling, [B, C, H / 16, W / 16]."""
        x = self.maxpool(self.conv1(x))
        return self.conv5(self.conv4(self.conv3(self.conv2(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.maps(x).mean(dim=(2, 3)))


class OSNetAIN(OSNet):
    """OSNet-AIN, whose instance norms stand where a search has put them."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        nn.Module.__init__(self)
        stem, first, second, third = widths
        self.conv1 = ConvNorm(3, stem, kernel=7, stride=2, norm=nn.InstanceNorm2d)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = make_ain_stage(stem, first, AIN_BLOCKS[0])
        self.pool2 = make_transition(first)
        self.conv3 = make_ain_stage(first, second, AIN_BLOCKS[1])
        self.pool3 = make_transition(second)
        self.conv4 = make_ain_stage(second, third, AIN_BLOCKS[2])
        self._add_head(third)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.pool2(self.conv2(x))
        x = self.pool3(self.conv3(x))
        return self.conv5(self.conv4(x))


def make_transition(channels: int) -> nn.Sequential:
    """Make a transition between stages; [B, channels, H, W] -> [B, channels, H / 2, W / 2]."""
    return nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2, stride=2))


def make_ain_stage(channels: int, out: int, instance: tuple[bool, bool]) -> nn.Sequential:
    """Make the two blocks of a stage of OSNet-AIN.

    Args:
        channels: of what comes in.
        out: channels of what comes out.
        instance: of each block, as in `AinBlock`.
    """
    first, second = instance
    return nn.Sequential(AinBlock(channels, out, first), AinBlock(out, out, second))


def initialise(module: nn.Module) -> None:
    """Draw the weights of one module, in place, as the authors do.

    Norms begin as ones and zeros by themselves.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def osnet(name: str) -> OSNet:
    """Make one of the OSNets, of random weights.

    Args:
        name: a key of `WIDTHS`.
    """
    if "_ain_" in name:
        return OSNetAIN(WIDTHS[name])
    return OSNet(WIDTHS[name], ibn="_ibn_" in name)
