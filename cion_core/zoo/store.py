"""Model folders: model.safetensors and card.json. Loading runs nothing that lies in one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import nn

from cion_core.errors import CionError
from cion_core.work import atomic
from cion_core.zoo import card as cards
from cion_core.zoo import checkpoints, weights
from cion_core.zoo.builder import fresh
from cion_core.zoo.card import Card

FILE = "model.safetensors"


def save(folder: Path | str, model: nn.Module, card: Card) -> None:
    """Write a model folder; equal weights give equal files.

    Args:
        folder: made if absent.
        model: whose weights are written.
        card: describes it.
    """
    folder = Path(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic(folder / FILE) as temporary:
        safetensors.torch.save_file(state, temporary)
    cards.write(folder, card)


def load(folder: Path | str, image: tuple[int, int] | None = None) -> tuple[nn.Module, Card]:
    """Load a model folder.

    Args:
        folder: as `save` writes it.
        image: (height, width) to build the model for instead of the card's. Weights that depend on
            the size are resized as timm does, where it can.

    Returns:
        The model, in eval mode on the CPU, and its card, whose `image` is what it was built for.

    Raises:
        CionError: a file is missing, or names what does not fit.
    """
    folder = Path(folder)
    card = cards.read(folder)
    path = folder / FILE
    if _holds(folder, card.built_by.split(".")):
        raise CionError(
            f"{folder / cards.FILE}: built_by {card.built_by} lies in the model folder; it is not "
            "run"
        )
    if not path.is_file():
        raise CionError(f"{path}: no such file; put the weights of {card.backbone} there")
    as_saved = image is None or tuple(image) == card.image
    if not as_saved:
        card = replace(card, image=tuple(image))
    model = fresh(card)
    if as_saved:
        # `save` has written just the keys and shapes of this model: what differs is an error.
        kind = card.built_by or card.backbone
        state = checkpoints.read(path)
        weights.put(model, state, f"{path} does not fit {kind}")
        weights.require_finite(state, path)
    else:
        # Shapes may differ by the image's size, which `load_weights` translates as it does for
        # checkpoints of others.
        weights.load_weights(model, path)
    return model.eval(), card


def _holds(folder: Path, names: list[str]) -> bool:
    """Whether an import of `a.b.c`, given as names, would run a file in `folder`."""
    for place in {Path.cwd(), *(Path(entry).resolve() for entry in sys.path)}:
        if folder.resolve().is_relative_to(place):
            below = folder.resolve().relative_to(place).parts
            rest = names[len(below) :]
            if rest and names[: len(below)] == list(below):
                package = folder / rest[0]
                module = folder / f"{rest[0]}.py"
                return package.exists() or module.exists()
    return False
