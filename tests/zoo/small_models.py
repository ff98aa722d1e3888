"""Two small models, whose weights are told apart, and their weights under a prefix."""

from __future__ import annotations

import torch
from torch import nn

from cion_core.zoo import create_model


def demo(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("resnet10_ibn", (64, 32)).eval()


def prefixed(model: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in model.state_dict().items()}


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


TEACHER, STUDENT = demo(1), demo(2)
