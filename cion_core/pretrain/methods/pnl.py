"""PNL (Fu et al., CVPR 2022): labels that a tracker gave, learnt from and corrected as learning
goes on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.config import Fraction
from cion_core.pretrain.losses import exact_cosines, info_nce
from cion_core.pretrain.methods.base import TeacherRates, decaying
from cion_core.pretrain.methods.lup import Lup, Moco
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.views import ViewRecipe, weak
from cion_core.registry import Style
from cion_core.training.optimizers import sgd

# Of the published 90 epochs: from which on there are prototypes, labels are corrected, and contrast
# goes by labels; and where the learning rate falls to FALL of what it was. Here they are fractions
# of any run.
EPOCHS = 90
PROTOTYPES, CORRECTED, GUIDED = 1, 11, 15
FALLS = (40, 80)
FALL = 0.1
WIDTH = 256  # of the classifier's hidden layer


class Pnl(Lup):
    """LUP with a classifier of the identities, and a prototype of each: the loss is the sum of
    three (section 4).

    They are the cross-entropy of the classifier's outputs p; the same of the similarities to the
    prototypes, q·c/τ; and contrast with the keys in the queue. Each begins or changes at its time:

        epoch 0     classifier, and MoCo's contrast: a crop's own key is its only positive
        epoch 1     prototypes as well, which have followed the features of their identities since epoch 0
        epoch 11    labels are corrected: a crop whose soft label α softmax(p) + (1-α) softmax(q·c/τ) has a share above
                    `threshold` counts as of that identity, for both cross-entropies, the queue and the prototypes
        epoch 15    contrast is guided by labels: all keys of the crop's identity are positives, as it was labelled

    The query is a weak view, the key a strong one of LUP's. What is published and differs: as for
    LUP; weak views are resized as all views are here, not bicubically.
    """

    about = "Cross-entropy, prototypes and contrast on a tracker’s identities, corrected on the way"
    style = Style("#c2455e", (0, (3, 1, 1, 1, 1, 1)))
    rule = (0.4, 1536)
    labels = "video"  # a tracker's, as in LUPerson-NL

    class Settings(Moco):
        """MoCo's, and what corrects labels; without a word, as published."""

        prototype_momentum: Fraction = 0.999
        alpha: Fraction = 0.5
        threshold: Fraction = 0.8

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.classifier = classifier(backbone.num_features, identities)
        for layer in (self.query[1][0], self.query[1][2]):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        self.key.load_state_dict(self.query.state_dict())
        self.register_buffer(
            "owners", torch.full((self.settings.queue,), -1)
        )  # whose the keys in the queue are
        self.register_buffer("prototypes", torch.zeros(identities, self.settings.dim))
        self._epoch = 0.0  # of EPOCHS

    @property
    def chance(self) -> float:
        return super().chance + 2 * math.log(len(self.prototypes))

    def recipes(self) -> list[ViewRecipe]:
        strong, _ = super().recipes()
        return [weak(self.p.image), strong]

    def optimizer(self) -> torch.optim.Optimizer:
        return sgd(decaying(self.query, self.classifier), self.settings.lr, momentum=0.9)

    def rates(self, step: int, steps: int) -> TeacherRates:
        falls = sum(EPOCHS * step >= fall * steps for fall in FALLS)
        return TeacherRates(
            self.settings.lr * FALL**falls, self.settings.weight_decay, self.settings.momentum
        )

    def before(self, step: int, steps: int) -> None:
        self._epoch = EPOCHS * step / steps

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.query[0](views[0])
        outputs, query = self.classifier(features), F.normalize(self.query[1](features))
        keys = self._keys(views[1])
        near = exact_cosines(query, self.prototypes.clone()) / self.settings.temperature

        alike = identities[:, None] == self.owners if self._epoch >= GUIDED else None
        loss = info_nce(query, keys, self.queue.clone(), self.settings.temperature, alike)
        labels = (
            corrected(outputs, near, identities, self.settings)
            if self._epoch >= CORRECTED
            else identities
        )
        loss = loss + F.cross_entropy(outputs, labels)
        if self._epoch >= PROTOTYPES:
            loss = loss + F.cross_entropy(near, labels)
        if self.training:
            self._waiting.append((keys, labels, query.detach()))
        return loss, {"corrected": (labels != identities).float().mean()}

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        places = super()._enqueue(keys)
        self.owners[places] = labels[-len(places) :]
        follow_each(self.prototypes, query.float(), labels, self.settings.prototype_momentum)
        return places


def classifier(width: int, identities: int) -> nn.Sequential:
    """Two layers [B, width] to logits [B, identities], which begin as published: the last one all
    but silent.
    """
    hidden, last = nn.Linear(width, WIDTH), nn.Linear(WIDTH, identities)
    nn.init.kaiming_normal_(hidden.weight, mode="fan_out")
    nn.init.normal_(last.weight, std=0.001)
    nn.init.zeros_(hidden.bias)
    nn.init.zeros_(last.bias)
    return nn.Sequential(hidden, nn.ReLU(), last)


@torch.no_grad()
def corrected(outputs: Tensor, near: Tensor, labels: Tensor, settings: Pnl.Settings) -> Tensor:
    """The labels int64 [B], where a soft label of logits [B, C] is sure of one that is the one
    instead.

    `settings`: alpha, the classifier's say in it, and threshold.
    """
    soft = settings.alpha * outputs.float().softmax(1) + (
        1 - settings.alpha
    ) * near.float().softmax(1)
    share, sure = soft.max(1)
    return torch.where(share > settings.threshold, sure, labels)


@torch.no_grad()
def follow_each(prototypes: Tensor, features: Tensor, labels: Tensor, momentum: float) -> None:
    """Move prototypes crop by crop, in their order, then give them unit length again.

    Crop after crop, c <- m·c + (1-m)·f. Of n crops of an identity the k-th (from 1) thus counts
    (1-m)·m^(n-k), and what was there before m^n. So all are moved at once:

        three crops of one identity:  c <- m³·c + (1-m)·(m²·f₁ + m·f₂ + f₃)

    Args:
        prototypes: float32 [C, D], changed in place; all 0 of an identity that was not seen yet.
        features: float32 [B, D], of unit length.
        labels: int64 [B], whose each is.
        momentum: m.
    """
    same = labels[:, None] == labels
    later = same.triu(1).sum(1)  # crops of the identity that follow on each
    shares = same * (1 - momentum) * momentum**later
    moved = momentum ** same.sum(1, keepdim=True) * prototypes[labels] + shares @ features
    prototypes[labels] = F.normalize(moved)  # crops of one identity write the same
