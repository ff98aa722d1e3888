"""The registry of methods."""

from __future__ import annotations

from torch import nn

from cion_core.errors import CionError
from cion_core.params import Pretrain
from cion_core.pretrain.methods.base import Method, Rates
from cion_core.pretrain.methods.cion import Cion
from cion_core.pretrain.methods.dino import Dino
from cion_core.pretrain.methods.lup import Lup
from cion_core.pretrain.methods.pnl import Pnl
from cion_core.pretrain.methods.random import Random
from cion_core.pretrain.methods.tracklet import Tracklet

METHODS: dict[str, type[Method]] = {
    "random": Random,
    "lup": Lup,
    "pnl": Pnl,
    "dino": Dino,
    "tracklet": Tracklet,
    "cion": Cion,
}

__all__ = ["METHODS", "Method", "Rates", "create", "named"]


def named(name: str) -> type[Method]:
    """The method `name`; CionError says which there are."""
    if name not in METHODS:
        raise CionError(f"pretrain.methods: unknown method {name!r}; valid: {', '.join(METHODS)}")
    return METHODS[name]


def create(name: str, p: Pretrain, backbone: nn.Module, identities: int) -> Method:
    """The method `name` around `backbone`, for crops of so many identities.

    Its heads' weights come from torch's global generator.
    """
    return named(name)(p, name, backbone, identities)
