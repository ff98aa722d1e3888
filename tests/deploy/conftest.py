"""A small model folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cion_core.zoo import Card, create_model, save

CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ResNet-10-IBN of random weights, with a normalisation that is not ImageNet's."""
    torch.manual_seed(0)
    save(tmp_path / "data/pretrain/cion-resnet10_ibn", create_model("resnet10_ibn", (64, 32)), CARD)
    return tmp_path / "data/pretrain/cion-resnet10_ibn"
