"""MGN at 384x128 as in FastReID.

LUPerson, LUPerson-NL and CION have published their ResNets' best scores with it.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from cion_core import zoo
from cion_core.config import Count, Positive, Section
from cion_core.errors import CionError
from cion_core.finetune.augment import Augmentation, Erasing
from cion_core.finetune.groups import apply_in_groups
from cion_core.finetune.heads import Cosines, circle_logits
from cion_core.finetune.losses import batch_hard_triplet, smoothed_cross_entropy
from cion_core.finetune.multi_granularity import DIM, FAMILY, HEADS, MultiGranularity
from cion_core.finetune.recipes.base import Recipe
from cion_core.training import ranks
from cion_core.training.learner import Learner, Rates
from cion_core.training.sampler import ChunkSampler, DealtSampler
from cion_core.zoo.card import Card

PAD = 10 / 384  # of the height; at other sizes than the published 384x128 in proportion
FIRST = 0.01  # where the learning rate begins, as a share of its peak: 3.5e-6 as published
LAST = 0.0022  # where it ends, as a share of its peak: 7.7e-7 as published
SMOOTHING = 0.1  # of the labels: the right person has 1 - 0.1, the others share 0.1
IDENTITY = 0.125  # the weight of each head's loss
TRIPLET = 0.2  # the weight of the triplets of each of JOINED
# How many heads' features, in order, triplets see as one: each whole map's, then all of the stripes
# of a branch.
JOINED = (1, 1, 1, 2, 3)

Epochs = Annotated[float, Field(ge=0)]


class MGN(Recipe):
    """Three branches of a ResNet, eight heads with circle softmax, and batch-hard triplets.

    Triplets have a soft margin; the optimiser is Adam. Published batch norms went by the 16 images
    that each of four GPUs had of a batch, four of each person; so do ours, on any number of GPUs
    that groups can be shared out to.

    Differences from what is published: padding is in proportion to the height. The seed is the
    project's, not drawn anew. Precision is the machine's, not always float32, but for heads and
    losses.
    """

    about = (
        "Three branches over stripes of a ResNet's map, circle softmax and triplets (Wang et al. "
        "2018, MGN)"
    )
    normalisation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    resizing = "bicubic", "bicubic"

    class Settings(Section):
        """The published numbers.

        Attributes:
            image: (height, width); null: pre-training's.
            warmup: epochs in which the learning rate rises.
            flat: the epoch from which on it falls.
            freeze: epochs in which only what is new is trained.
            identities, instances: people of a batch, and images of each.
            group: images that batch norms go by; null: all of a batch.
        """

        image: tuple[Count, Count] | None = (384, 128)
        epochs: Count = 60
        warmup: Epochs = 10
        flat: Epochs = 30
        freeze: Epochs = 10
        identities: Annotated[int, Field(ge=2)] = 4
        instances: Annotated[int, Field(ge=2)] = 16
        group: Annotated[int, Field(ge=2)] | None = 16
        lr: Positive = 3.5e-4
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4

        @property
        def batch(self) -> int:
            return self.identities * self.instances

        @model_validator(mode="after")
        def _in_order(self) -> MGN.Settings:
            if not self.warmup <= self.flat < self.epochs or self.freeze >= self.epochs:
                raise ValueError(
                    f"warmup {self.warmup:g}, flat {self.flat:g} and freeze {self.freeze:g} are "
                    f"epochs of the {self.epochs}; valid: warmup up to flat, flat and freeze "
                    "below epochs"
                )
            return self

        @model_validator(mode="after")
        def _dealt(self) -> MGN.Settings:
            if self.group is None:
                return self
            groups, rest = divmod(self.batch, self.group)
            if rest or self.instances % groups:
                divisors = [n for n in range(1, self.instances + 1) if self.instances % n == 0]
                valid = ", ".join(str(n * self.identities) for n in divisors)
                raise ValueError(
                    f"group {self.group}: a group has equally many images of each of the "
                    f"{self.identities} identities; valid: {valid}"
                )
            return self

    def prepare(self, card: Card) -> None:
        if card.backbone not in FAMILY:
            raise CionError(
                f"finetune: {self.name} cuts a ResNet into trunk and branches, which "
                f"{card.backbone} is not; valid: {', '.join(FAMILY)}"
            )
        super().prepare(card)

    @property
    def augmentation(self) -> Augmentation:
        black = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        erasing = Erasing(area=(0.02, 0.4), ratio=(0.3, 1 / 0.3), log=False, tries=100, fill=black)
        return Augmentation(pad=round(PAD * self.size[0]), erasing=erasing)

    def steps(self, people: np.ndarray) -> int:
        """Epochs of as many batches as all images fill.

        Their length is fixed, unlike that of the sampler's own epochs.
        """
        images = int((people >= 0).sum())
        return self.settings.epochs * max(1, images // self.settings.batch)

    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> ChunkSampler:
        s = self.settings
        known = len(np.unique(people[people >= 0]))
        if known < s.identities:
            raise ValueError(
                f"{known} training people, but finetune.{self.name}.identities asks for "
                f"{s.identities} in a batch; valid: 2 to {known}"
            )
        groups = s.batch // (s.group or s.batch)
        return DealtSampler(people, s.identities, s.instances, self.seed, groups)

    def learner(self, backbone: nn.Module, people: np.ndarray) -> MGNLearner:
        share = self.settings.batch // ranks.size()
        if self.settings.group and share % self.settings.group:
            raise ValueError(
                f"finetune.{self.name}.group {self.settings.group}: the {share} images of a batch "
                f"that each of {ranks.size()} processes has are no whole groups; valid: a divisor "
                f"of {share}, or fewer processes"
            )
        network = MultiGranularity(backbone)
        return MGNLearner(self.name, self.settings, network, int(people.max()) + 1)

    @classmethod
    def inference(cls, card: Card) -> nn.Module:
        return MultiGranularity(zoo.create_model(card.backbone, card.image))


class MGNLearner(Learner):
    """The network with a classifier for each of its heads; the network is kept.

    Losses see the features of the whole batch, in each process of several. For that reason the
    batch is not taken in parts.
    """

    can_accumulate = False

    def __init__(
        self, name: str, settings: MGN.Settings, network: MultiGranularity, people: int
    ) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.people = people
        self.synchronised = settings.group is None
        self.network = network
        self.classifiers = nn.ModuleList(Cosines(DIM, people) for _ in range(HEADS))

    @property
    def kept_network(self) -> nn.Module:
        return self.network

    @property
    def advice(self) -> str:
        return f"lower finetune.{self.name}.lr"

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def optimizer(self) -> torch.optim.Optimizer:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        groups = [{"params": learning, "decays": True}]
        return torch.optim.Adam(groups, lr=self.settings.lr, fused=True)

    def rates(self, step: int, steps: int) -> Rates:
        s = self.settings
        epoch = step * s.epochs / steps
        lr = learning_rate(epoch, s.epochs, s.warmup, s.flat, s.lr)
        return Rates(lr, s.weight_decay)

    def before(self, step: int, steps: int) -> None:
        for part in self.network.pretrained:
            part.train(not self._freezes(step, steps))

    def frozen(self, step: int, steps: int) -> list[nn.Parameter]:
        parts = self.network.pretrained if self._freezes(step, steps) else []
        return [weight for part in parts for weight in part.parameters()]

    def _freezes(self, step: int, steps: int) -> bool:
        return step * self.settings.epochs / steps < self.settings.freeze

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = apply_in_groups(self.network, views[0], self.settings.group)
        features = ranks.gather_with_gradient(own)
        people = ranks.gather(identities)
        # In float32 throughout, as heads give it.
        with torch.autocast(features.device.type, enabled=False):
            # Each head's feature is classified by itself.
            heads = zip(self.classifiers, features.split(DIM, 1), strict=True)
            cosines = [classify(feature) for classify, feature in heads]
            logits = [circle_logits(values, people) for values in cosines]
            identity = sum(smoothed_cross_entropy(values, people, SMOOTHING) for values in logits)
            accuracy = (cosines[0].argmax(1) == people).float().mean()

            # Triplets see several heads' features as one.
            joined = features.split([count * DIM for count in JOINED], 1)
            triplet = sum(batch_hard_triplet(feature, people) for feature in joined)
        identity = IDENTITY * identity
        triplet = TRIPLET * triplet
        watched = {"identity_loss": identity, "triplet_loss": triplet, "accuracy": accuracy}
        return identity + triplet, watched


def learning_rate(epoch: float, epochs: int, warmup: float, flat: float, lr: float) -> float:
    """The learning rate after so many epochs.

    It rises linearly from FIRST·lr to lr, stays there up to epoch `flat`, and falls to LAST·lr on a
    cosine.

    Args:
        epoch: from 0.
        epochs: of the run.
        warmup: epochs in which it rises.
        flat: the epoch from which on it falls.
        lr: the peak.
    """
    if epoch < warmup:
        return lr * (FIRST + (1 - FIRST) * epoch / warmup)
    progress = max(0.0, epoch - flat) / (epochs - flat)
    share = (1 + math.cos(math.pi * progress)) / 2
    return lr * (LAST + (1 - LAST) * share)
