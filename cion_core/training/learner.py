"""What the training loop asks of whatever it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rates:
    """What the schedules say at one step.

    The loop gives both to the optimiser; history shows every field.
    """

    lr: float
    weight_decay: float


class Learner(ABC, nn.Module):
    """Networks that learn, with their loss and optimiser.

    All that a resume needs is in `state_dict`.

    A subclass writes what is abstract here. The loop calls, at each step: `rates`, `before`,
    `forward` on every part of the batch, `frozen`, `clip`, the optimiser, `after`.

    Attributes:
        name: in messages, and in the names of settings.
        can_accumulate: whether a batch may be taken in parts (`runtime.accumulate`): its loss is
            then the mean of theirs.
        synchronised: whether batch norms go by the shares of all GPUs together.
    """

    name: str
    can_accumulate: ClassVar[bool] = True
    synchronised: bool = True

    @property
    @abstractmethod
    def kept_network(self) -> nn.Module:
        """The network to keep."""

    @property
    @abstractmethod
    def advice(self) -> str:
        """Which settings to change where the loss is no longer finite: "lower ..."."""

    @property
    def clip(self) -> float:
        """The most that one parameter's gradient norm may be; 0 for no bound."""
        return 0.0

    @abstractmethod
    def networks(self) -> list[nn.Module]:
        """The backbones in it, which compiling and activation checkpointing are for."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimiser. Its groups have a key `decays`: whether weight decay applies to them.

        A group may also have `times`: what its learning rate is multiplied by. A fused optimiser
        is faster on a GPU, and leaves a step out whose gradients are not finite; of SGD
        that is `optimizers.sgd`.
        """

    @abstractmethod
    def rates(self, step: int, steps: int) -> Rates:
        """The schedules at `step` of `steps`."""

    @abstractmethod
    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this process's share of a batch, or of a part of that.

        A step may be made of several such parts; what must follow once is left to `after`.

        Args:
            views: float32 [B, 3, height, width] each, row b of all from one image.
            instances: K, rows of each identity, one after another.
            identities: int64 [B], of each row, numbered from 0.

        Returns:
            The loss, a scalar, and what is worth watching: scalars by name.
        """

    def before(self, step: int, steps: int) -> None:
        """Get ready for `step`, between `rates` and `forward`: layers in evaluation mode, say."""

    def frozen(self, step: int, steps: int) -> list[nn.Parameter]:
        """Parameters that must not move at `step`."""
        return []

    def after(self, rates: Rates) -> None:
        """What follows the optimiser's step."""
