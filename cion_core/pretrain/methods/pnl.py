"""PNL (Fu et al., CVPR 2022): labels that a tracker gave, learnt from and corrected as learning goes on."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.config import Fraction
from cion_core.pretrain.losses import info_nce
from cion_core.pretrain.methods.base import TeacherRates
from cion_core.pretrain.methods.lup import Lup
from cion_core.pretrain.settings import Pretrain
from cion_core.registry import Style
from cion_core.training import ranks
from cion_core.training.optimizers import sgd


class Pnl(Lup):
    """LUP with a classifier of the identities, and a prototype of each: the loss is the sum of three (section 4).

    Cross-entropy of the classifier's outputs p; the same of the similarities to the prototypes, q·c/τ; and MoCo's
    instance contrast. From `correct_from` of the run on, a crop whose soft label α softmax(p) + (1-α) softmax(q·c/τ)
    has a share above `threshold` counts as of that identity. After each step, the prototypes of the identities in it,
    as corrected, move towards the mean of their features; the published script moves them crop by crop.
    """

    about = "Cross-entropy, prototypes and contrast on a tracker’s identities, corrected on the way"
    style = Style("#c2455e", (0, (3, 1, 1, 1, 1, 1)))
    rule = (0.4, 1536)
    labels = "video"  # a tracker's, as in LUPerson-NL

    class Settings(Lup.Settings):
        """Lup's, and what corrects labels: `correct_from` is a fraction of the run."""

        prototype_momentum: Fraction
        alpha: Fraction
        threshold: Fraction
        correct_from: Fraction

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.classifier = nn.Linear(backbone.num_features, identities)
        self.register_buffer("prototypes", torch.zeros(identities, self.settings.dim))
        self._correcting = False
        self._met: list[tuple[Tensor, Tensor]] = []  # unit features and labels of the step that is being made

    @property
    def chance(self) -> float:
        return super().chance + 2 * math.log(len(self.prototypes))

    def optimizer(self) -> torch.optim.Optimizer:
        return sgd(self._groups(self.query, self.classifier), self.settings.lr, momentum=0.9)

    def rates(self, step: int, steps: int) -> TeacherRates:
        self._correcting = step >= self.settings.correct_from * steps
        return super().rates(step, steps)

    def forward(self, views: list[Tensor], instances: int, identities: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.query[0](views[0])
        outputs, query = self.classifier(features), F.normalize(self.query[1](features))
        keys = self._keys(views[1])
        near = query @ self.prototypes.clone().T / self.settings.temperature
        labels = corrected(outputs, near, identities, self.settings) if self._correcting else identities
        contrast = info_nce(query, keys, self.queue.clone(), self.settings.temperature)
        loss = F.cross_entropy(outputs, labels) + F.cross_entropy(near, labels) + contrast
        if self.training:
            self._waiting.append(keys)
            self._met.append((query.detach(), labels))
        return loss, {"corrected": (labels != identities).float().mean()}

    def after(self, rates: TeacherRates) -> None:
        super().after(rates)
        features, labels = (ranks.gather(torch.cat(parts)) for parts in zip(*self._met, strict=True))
        self._met.clear()
        move(self.prototypes, features.float(), labels, self.settings.prototype_momentum)


@torch.no_grad()
def corrected(outputs: Tensor, near: Tensor, labels: Tensor, settings: Pnl.Settings) -> Tensor:
    """The labels int64 [B], where a soft label of logits [B, C] is sure of one that is the one instead.

    `settings`: alpha, the classifier's say in it, and threshold.
    """
    soft = settings.alpha * outputs.float().softmax(1) + (1 - settings.alpha) * near.float().softmax(1)
    share, sure = soft.max(1)
    return torch.where(share > settings.threshold, sure, labels)


@torch.no_grad()
def move(prototypes: Tensor, features: Tensor, labels: Tensor, momentum: float) -> None:
    """Move the prototypes [C, D] of the labels that are there to momentum·c + (1-momentum)·mean, at unit length."""
    sums = torch.zeros_like(prototypes).index_add_(0, labels, features)
    # not by bincount, which a GPU is waited for
    count = torch.zeros_like(prototypes[:, :1]).index_add_(0, labels, torch.ones_like(features[:, :1]))
    moved = F.normalize(momentum * prototypes + (1 - momentum) * sums / count.clamp_min(1))
    prototypes.copy_(torch.where(count > 0, moved, prototypes))
