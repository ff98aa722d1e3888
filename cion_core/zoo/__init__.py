"""Backbones by name; weights in and out.

The names are known without torch (`names`); the rest is imported when first asked for, because the
settings of pre-training, which every command reads, need the names alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cion_core.zoo.build import create_model, list_models
    from cion_core.zoo.builder import Builder, fresh
    from cion_core.zoo.card import Card
    from cion_core.zoo.images import to_tensor
    from cion_core.zoo.store import load, save
    from cion_core.zoo.weights import load_weights

_HOMES = {
    "create_model": "build",
    "list_models": "build",
    "Builder": "builder",
    "fresh": "builder",
    "Card": "card",
    "to_tensor": "images",
    "load": "store",
    "load_weights": "weights",
    "save": "store",
}
__all__ = [
    "Builder",
    "Card",
    "create_model",
    "fresh",
    "list_models",
    "load",
    "load_weights",
    "save",
    "to_tensor",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
