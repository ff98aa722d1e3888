"""LUP (Fu et al., CVPR 2021): MoCo v2 as tuned for person images, every crop its own identity."""

from __future__ import annotations

import copy
import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.config import Count, Fraction, Positive, Section
from cion_core.pretrain.heads import MocoHead
from cion_core.pretrain.losses import info_nce
from cion_core.pretrain.methods.base import (
    LAST_LR,
    TeacherRates,
    Trained,
    momentum_update,
    parameter_groups,
    single_parameter_group,
)
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.views import ViewKind, lup
from cion_core.registry import Style
from cion_core.training import ranks
from cion_core.training.optimizers import sgd
from cion_core.training.schedules import warmup_cosine

SHUFFLED = 4  # groups of keys, each of which passes the batch norms by itself


class Moco(Section):
    """Settings of what learns with a queue of keys.

    Attributes:
        queue: keys that wait.
        momentum: of the key encoder.
        dim: width of an embedding.
        ratio: the least and the largest width / height of what a view shows.
    """

    lr: Positive
    temperature: Positive
    queue: Count
    momentum: Fraction
    dim: Count
    weight_decay: Annotated[float, Field(ge=0)]
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)


class Lup(Trained):
    """A query encoder learns; keys come from its moving average and wait in a queue as negatives.

    MoCo shuffles keys between GPUs. Without that a query would share its batch statistics with its
    own key, and could recognise it by them. Here the keys of a process pass their batch norms in
    `SHUFFLED` random groups instead. On several GPUs those norms are synchronised, so that a group
    goes by the same group of all processes.

    Differences from what is published: images are normalised by ImageNet's mean and deviation, as
    by every method here, and not by those of LUPerson. The logarithm of an erased box's width /
    height is drawn evenly, not its height / width.
    """

    about = "MoCo v2 tuned for person images, every crop its own class"
    style = Style("#d9772b", (0, (5, 1, 1, 1)))
    published_lr = (0.3, 2560)

    class Settings(Moco):
        """MoCo's settings, and two of LUP's own, whose defaults are published.

        Attributes:
            warms_up: whether the learning rate rises over `pretrain.warmup` before its cosine.
            decay_all: whether weight decay applies to biases and norms, too.
        """

        warms_up: bool = False
        decay_all: bool = True

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.query = nn.Sequential(backbone, MocoHead(backbone.num_features, self.settings.dim))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        queue = torch.randn(self.settings.queue, self.settings.dim)
        self.register_buffer("queue", F.normalize(queue))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        # Keys of the step that is being made, and what goes with them.
        self._waiting: list[tuple[Tensor, ...]] = []

    @property
    def chance(self) -> float:
        return math.log(1 + self.settings.queue)

    @property
    def kept_network(self) -> nn.Module:
        return self.query[0]

    def loss_bytes(self, crops: float) -> float:
        return 4 * crops * self.settings.queue  # the logits

    def networks(self) -> list[nn.Module]:
        return [self.query[0], self.key[0]]

    def view_kinds(self) -> list[ViewKind]:
        return lup(self.p.image, self.settings.ratio)

    def optimizer(self) -> torch.optim.Optimizer:
        make_groups = single_parameter_group if self.settings.decay_all else parameter_groups
        return sgd(make_groups(self.query), self.settings.lr, momentum=0.9)

    def rates(self, step: int, steps: int) -> TeacherRates:
        warmup = self.p.warmup if self.settings.warms_up else 0.0
        return TeacherRates(
            lr=warmup_cosine(self.settings.lr, LAST_LR, step, steps, warmup),
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
        )

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        query = F.normalize(self.query(views[0]))
        keys = self._keys(views[1])
        negatives = self.queue.clone()  # autograd needs it as it is now
        loss = info_nce(query, keys, negatives, self.settings.temperature)
        if self.training:
            self._waiting.append((keys,))
        return loss, {}

    @torch.no_grad()
    def _keys(self, view: Tensor) -> Tensor:
        """The unit keys [B, dim] of a view, which have passed the network in random groups."""
        order = torch.randperm(len(view), device=view.device)
        shuffled = view[order]
        keys = torch.cat([self.key(group) for group in shuffled.chunk(SHUFFLED)])
        return F.normalize(keys[order.argsort()])

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> Tensor:
        """Put keys in the places of the oldest ones.

        Example: in a queue of 5 whose oldest key is at 3, three keys go to 3, 4 and 0.

        Returns:
            The places, int64 [B], or of the last keys where the queue does not hold all.
        """
        keys = keys[-len(self.queue) :]
        offsets = torch.arange(len(keys), device=keys.device)
        places = (self.position + offsets) % len(self.queue)
        self.queue[places] = keys.to(self.queue.dtype)  # autocast may have made them shorter
        self.position.copy_((self.position + len(keys)) % len(self.queue))
        return places

    def after(self, rates: TeacherRates) -> None:
        if self._waiting:
            by_kind = zip(*self._waiting, strict=True)
            waiting = [ranks.gather(torch.cat(parts)) for parts in by_kind]
            self._enqueue(*waiting)
            self._waiting.clear()
        momentum_update(self.key, self.query, rates.momentum)
