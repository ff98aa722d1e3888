"""What the engine asks of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cion_core.params import Pretrain
from cion_core.pretrain.views import Recipe

LAST_LR = 1e-6  # where the cosine ends, as published


@dataclass(frozen=True)
class Rates:
    """What the schedules say at one step. `momentum` is the teacher's or the momentum encoder's."""

    lr: float
    weight_decay: float
    momentum: float


class Method(nn.Module):
    """A way to pre-train `backbone`: its networks and state (all in state_dict), its views, loss and optimiser.

    A new method is one file with a subclass, and its line in the registry. One that does not train needs nothing
    but `exported`.
    """

    labels: ClassVar[Literal["crop", "video", "cross_video"]] = "crop"  # whose identities make up the batches
    trains: ClassVar[bool] = True

    def __init__(self, p: Pretrain, name: str, backbone: nn.Module, identities: int) -> None:
        super().__init__()
        self.p, self.name, self.settings = p, name, getattr(p, name)

    @property
    def phases(self) -> list[tuple[float, int]]:
        """[(fraction of the run from which on, K)]."""
        return [(0.0, 1)]

    @property
    def clip(self) -> float:
        """The most that one parameter's gradient norm may be; 0 for no bound."""
        return 0.0

    @property
    def chance(self) -> float:
        """The loss of a network that knows nothing."""
        raise NotImplementedError

    @property
    def exported(self) -> nn.Module:
        """The backbone to keep."""
        raise NotImplementedError

    def networks(self) -> list[nn.Module]:
        """The backbones in it, which compiling and activation checkpointing are for."""
        raise NotImplementedError

    def recipes(self) -> list[Recipe]:
        """The views of a crop."""
        raise NotImplementedError

    def optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimiser, its groups from `groups`."""
        raise NotImplementedError

    def rates(self, step: int, steps: int) -> Rates:
        """The schedules at `step` of `steps`."""
        raise NotImplementedError

    def forward(self, views: list[Tensor], instances: int, identities: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, what is worth watching: named scalars) of a batch as `Batches` makes it, or of an equal part of one.

        identities int64 [B]: whose crops they are, numbered from 0. A step may be made of several such parts; what must
        follow once is left to `after`.
        """
        raise NotImplementedError

    def frozen(self, step: int, steps: int) -> list[nn.Parameter]:
        """Parameters that must not move at `step`."""
        return []

    def after(self, rates: Rates) -> None:
        """What follows the optimiser's step."""


def groups(*modules: nn.Module) -> list[dict]:
    """Two optimiser groups: what weight decay applies to, and biases and norms, which it must leave alone."""
    parameters = [p for module in modules for p in module.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "decays": True},
        {"params": [p for p in parameters if p.ndim <= 1], "decays": False},
    ]


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters towards the student's: t <- momentum·t + (1 - momentum)·s."""
    for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
        t.lerp_(s, 1 - momentum)
