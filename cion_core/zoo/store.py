"""Model folders: model.safetensors and card.json. Loading never runs code from a file."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import nn

from cion_core.errors import CionError
from cion_core.work import atomic
from cion_core.zoo import card as cards
from cion_core.zoo import weights
from cion_core.zoo.build import create_model
from cion_core.zoo.card import Card

FILE = "model.safetensors"


def save(folder: Path | str, model: nn.Module, card: Card) -> None:
    """Write `model`'s weights and `card` into `folder`; equal weights give equal files."""
    folder = Path(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic(folder / FILE) as temporary:
        safetensors.torch.save_file(state, temporary)
    cards.write(folder, card)


def load(folder: Path | str) -> tuple[nn.Module, Card]:
    """The model of `folder`, in eval mode on the CPU, and its card; CionError names what does not fit."""
    folder = Path(folder)
    card = cards.read(folder)
    path = folder / FILE
    if not path.is_file():
        raise CionError(f"{path}: no such file; put the weights of {card.backbone} there")
    state = weights.read(path)
    model = create_model(card.backbone, card.image)
    weights.put(model, state, f"{path} does not fit {card.backbone}")
    return model.eval(), card
