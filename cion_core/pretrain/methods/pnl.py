"""PNL (Fu et al., CVPR 2022): learning from a tracker's labels, and correcting them meanwhile."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cion_core.config import Fraction
from cion_core.pretrain.losses import exact_cosines, info_nce
from cion_core.pretrain.methods.base import TeacherRates, single_parameter_group
from cion_core.pretrain.methods.lup import Lup, Moco
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.views import ViewKind, weak
from cion_core.registry import Style
from cion_core.training.optimizers import sgd

# The published run has 90 epochs. Here its epochs are fractions of any run.
EPOCHS = 90
PROTOTYPES_FROM = 1  # the epoch from which on prototypes are learnt from
CORRECTED_FROM = 11  # the epoch from which on labels are corrected
BY_LABELS_FROM = 15  # the epoch from which on contrast goes by labels
FALLS = (40, 80)  # the epochs in which the learning rate is multiplied by FALL
FALL = 0.1
WIDTH = 256  # of the classifier's hidden layer


class Pnl(Lup):
    """LUP with a classifier of the identities and a prototype of each (section 4).

    The loss is the sum of three: the cross-entropy of the classifier's outputs p; that of the
    similarities to the prototypes, q·c/τ; and contrast with the keys in the queue. Each begins or
    changes at its time:

        epoch 0     the classifier, and MoCo's contrast: a crop's own key is its only positive
        epoch 1     prototypes as well; they have followed the features of their identities
                    since epoch 0
        epoch 11    labels are corrected: where the soft label α softmax(p) + (1-α) softmax(q·c/τ)
                    has a share above `threshold`, the crop counts as of that identity, for both
                    cross-entropies, the queue and the prototypes
        epoch 15    contrast goes by labels: all keys of the crop's identity, as it was labelled,
                    are positives

    The query is a weak view, the key a strong one of LUP's. Differences from what is published: as
    for LUP; and weak views are resized as all views are here, not bicubically.
    """

    about = "Cross-entropy, prototypes and contrast on a tracker’s identities, corrected on the way"
    style = Style("#c2455e", (0, (3, 1, 1, 1, 1, 1)))
    published_lr = (0.4, 1536)
    labels = "video"  # a tracker's, as in LUPerson-NL

    class Settings(Moco):
        """MoCo's settings, and those by which labels are corrected, whose defaults are published.

        Attributes:
            prototype_momentum: what a prototype keeps of itself at each crop.
            alpha: the weight of the classifier's outputs in the soft label.
            threshold: the share from which on a soft label corrects a label.
        """

        prototype_momentum: Fraction = 0.999
        alpha: Fraction = 0.5
        threshold: Fraction = 0.8

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.classifier = make_classifier(backbone.num_features, identities)
        for layer in (self.query[1][0], self.query[1][2]):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        self.key.load_state_dict(self.query.state_dict())
        # The identities of the keys in the queue.
        self.register_buffer("owners", torch.full((self.settings.queue,), -1))
        self.register_buffer("prototypes", torch.zeros(identities, self.settings.dim))
        self._epoch = 0.0  # of EPOCHS

    @property
    def chance(self) -> float:
        return super().chance + 2 * math.log(len(self.prototypes))

    def view_kinds(self) -> list[ViewKind]:
        strong, _ = super().view_kinds()
        return [weak(self.p.image), strong]

    def optimizer(self) -> torch.optim.Optimizer:
        return sgd(
            single_parameter_group(self.query, self.classifier), self.settings.lr, momentum=0.9
        )

    def rates(self, step: int, steps: int) -> TeacherRates:
        falls = sum(EPOCHS * step >= epoch * steps for epoch in FALLS)
        lr = self.settings.lr * FALL**falls
        return TeacherRates(lr, self.settings.weight_decay, self.settings.momentum)

    def before(self, step: int, steps: int) -> None:
        self._epoch = EPOCHS * step / steps

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        backbone, head = self.query
        features = backbone(views[0])
        outputs = self.classifier(features)
        query = F.normalize(head(features))
        keys = self._keys(views[1])
        near = exact_cosines(query, self.prototypes.clone()) / self.settings.temperature

        # 1. Contrast with the queue.
        alike = None
        if self._epoch >= BY_LABELS_FROM:
            alike = identities[:, None] == self.owners
        loss = info_nce(query, keys, self.queue.clone(), self.settings.temperature, alike)

        # 2. Both cross-entropies, by labels that may be corrected.
        labels = identities
        if self._epoch >= CORRECTED_FROM:
            labels = correct_labels(outputs, near, identities, self.settings)
        loss = loss + F.cross_entropy(outputs, labels)
        if self._epoch >= PROTOTYPES_FROM:
            loss = loss + F.cross_entropy(near, labels)
        if self.training:
            self._waiting.append((keys, labels, query.detach()))
        return loss, {"corrected": (labels != identities).float().mean()}

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        places = super()._enqueue(keys)
        self.owners[places] = labels[-len(places) :]
        update_prototypes(self.prototypes, query.float(), labels, self.settings.prototype_momentum)
        return places


def make_classifier(width: int, identities: int) -> nn.Sequential:
    """Two layers, [B, width] to logits [B, identities], with the published first weights.

    Those of the last layer are close to 0.
    """
    hidden = nn.Linear(width, WIDTH)
    last = nn.Linear(WIDTH, identities)
    nn.init.kaiming_normal_(hidden.weight, mode="fan_out")
    nn.init.normal_(last.weight, std=0.001)
    nn.init.zeros_(hidden.bias)
    nn.init.zeros_(last.bias)
    return nn.Sequential(hidden, nn.ReLU(), last)


@torch.no_grad()
def correct_labels(outputs: Tensor, near: Tensor, labels: Tensor, settings: Pnl.Settings) -> Tensor:
    """Labels, replaced where the soft label has a share above the threshold.

    Args:
        outputs: the classifier's logits, float [B, C].
        near: logits by the prototypes, float [B, C].
        labels: int64 [B].
        settings: `alpha`, the classifier's weight in the soft label, and `threshold`.

    Returns:
        int64 [B].
    """
    by_classifier = settings.alpha * outputs.float().softmax(1)
    by_prototypes = (1 - settings.alpha) * near.float().softmax(1)
    share, most_likely = (by_classifier + by_prototypes).max(1)
    return torch.where(share > settings.threshold, most_likely, labels)


@torch.no_grad()
def update_prototypes(
    prototypes: Tensor, features: Tensor, labels: Tensor, momentum: float
) -> None:
    """Move prototypes crop by crop, in their order, then give them unit length again.

    Crop after crop, c <- m·c + (1-m)·f. Of n crops of an identity the k-th (from 1) thus counts
    (1-m)·m^(n-k), and what was there before m^n. So all are moved at once:

        three crops of one identity:  c <- m³·c + (1-m)·(m²·f₁ + m·f₂ + f₃)

    Args:
        prototypes: float32 [C, D], changed in place; all 0 of an identity that was not seen yet.
        features: float32 [B, D], of unit length.
        labels: int64 [B], the identity of each crop.
        momentum: m.
    """
    same = labels[:, None] == labels
    crops = same.sum(1, keepdim=True)  # n
    later = same.triu(1).sum(1)  # n - k: crops of the identity that come after each
    shares = same * (1 - momentum) * momentum**later
    kept = momentum**crops * prototypes[labels]
    moved = kept + shares @ features
    prototypes[labels] = F.normalize(moved)  # crops of one identity write the same
