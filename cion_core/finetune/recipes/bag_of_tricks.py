"""The customary recipe (Luo et al. 2019, "Bag of tricks"), as in TransReID and CION_ReIDZoo.

Triplets see the feature, a classifier sees it after a batch norm; the feature is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cion_core.config import Count, Fraction, Positive, Section
from cion_core.finetune.augment import Augmentation, Erasing
from cion_core.finetune.groups import apply_in_groups
from cion_core.finetune.losses import batch_hard_triplet
from cion_core.finetune.published_batches import (
    DataSet,
    published_settings,
    settings_for_batch,
)
from cion_core.finetune.recipes.base import Recipe
from cion_core.progress import say
from cion_core.training import ranks
from cion_core.training.learner import Learner, Rates
from cion_core.training.optimizers import sgd
from cion_core.training.sampler import ChunkSampler
from cion_core.zoo.card import Card

DEFAULT_BATCH = 64  # images, for a backbone that nothing is published for
PAD = 10 / 256  # of the height; at other sizes than the published 256x128 in proportion
ERASING = Erasing(area=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), log=True, tries=10, fill=None)
MOMENTUM = 0.9
# The learning rate of biases, over that of weights.
BIAS_LR_FACTOR = 2.0
FIRST = 0.01  # where the learning rate begins, as a share of its peak
LAST = 0.002  # what the cosine falls to, as a share of the peak
CLASSIFIER = 0.001  # standard deviation of its first weights


class BagOfTricks(Recipe):
    """Cross-entropy after a BNNeck, and batch-hard triplets with a soft margin, by SGD.

    Nothing is set for drop path: a backbone of the zoo has the published 0, Swin 0.1, as it is
    built.

    Differences from what is published: TransReID's schedule gives biases twice the learning rate
    but for its ends, where all weights begin with 0.01 and end at 0.002 of it; here it is twice
    throughout. Padding is in proportion to the height. The seed is the project's, not 1234, and
    precision the machine's, not always float16.
    """

    about = (
        "Cross-entropy after a BNNeck, and soft batch-hard triplets (Luo et al. 2019, as in "
        "TransReID)"
    )
    normalisation = (0.5,) * 3, (0.5,) * 3
    resizing = "bicubic", "bilinear"

    class Settings(Section):
        """The published numbers.

        Attributes:
            image: (height, width); null: pre-training's.
            batch: images; null: the batch published for the backbone on the data set `as_on`,
                DEFAULT_BATCH where there is none.
            instances: images of each person in a batch.
            lr: null: that of the batch.
            warmup: a fraction of the epochs; null: that of the batch.
            group: images that batch norms go by; null: all that a process has of a batch.
        """

        image: tuple[Count, Count] | None = (256, 128)
        epochs: Count = 120
        batch: Count | None = None
        as_on: DataSet = "market1501"
        instances: Annotated[int, Field(ge=2)] = 4
        lr: Positive | None = None
        warmup: Fraction | None = None
        weight_decay: Annotated[float, Field(ge=0)] = 1e-4
        group: Count | None = None

    def prepare(self, card: Card) -> None:
        super().prepare(card)
        s = self.settings
        if s.batch:
            batch = settings_for_batch(s.batch)
        else:
            batch = published_settings(card.backbone, s.as_on)
        if batch is None:
            batch = settings_for_batch(DEFAULT_BATCH)
            if ranks.rank() == 0:
                say(
                    f"{self.name}: no batch is published for {card.backbone}; "
                    f"finetune.{self.name}.batch is {DEFAULT_BATCH}"
                )
        self.batch = batch.size
        self.lr = s.lr or batch.lr
        warmup = batch.warmup if s.warmup is None else s.warmup
        self.rising = round(warmup * s.epochs)

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(pad=round(PAD * self.size[0]), erasing=ERASING)

    def steps(self, people: np.ndarray) -> int:
        return self._chunks(people).first_step(self.settings.epochs)

    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> ChunkSampler:
        return self._chunks(people)

    def _chunks(self, people: np.ndarray) -> ChunkSampler:
        known = len(np.unique(people[people >= 0]))
        each = self.settings.instances
        if self.batch % each or not 2 <= self.batch // each <= known:
            raise ValueError(
                f"{known} training people, and finetune.{self.name}.batch is {self.batch}, {each} "
                f"images of each; valid: a multiple of {each} from {2 * each} to {known * each}"
            )
        return ChunkSampler(people, self.batch // each, each, self.seed)

    def learner(self, backbone: nn.Module, people: np.ndarray) -> BagOfTricksLearner:
        epochs = self.settings.epochs
        chunks = self._chunks(people)
        known = len(np.unique(people[people >= 0]))

        def lr(step: int) -> float:
            return learning_rate(chunks.epoch(step), epochs, self.rising, self.lr)

        return BagOfTricksLearner(self.name, backbone, known, self.settings, lr)


def learning_rate(epoch: int, epochs: int, rising: int, lr: float) -> float:
    """The learning rate in an epoch.

    It rises in equal steps from FIRST·lr. Then it falls on a cosine that has begun with the first
    epoch and not at the peak: with 20 of 120 epochs to rise, it is 0.9505·lr in epoch 19, 0.933·lr
    in epoch 20.

    Args:
        epoch: from 0.
        epochs: of the run.
        rising: epochs in which it rises.
        lr: the peak.
    """
    if epoch < rising:
        return lr * (FIRST + (1 - FIRST) * epoch / rising)
    share = (1 + math.cos(math.pi * epoch / epochs)) / 2
    return lr * (LAST + (1 - LAST) * share)


class Neck(nn.Module):
    """Batch norm without shift, then a linear classifier: float [B, D] to logits [B, people]."""

    def __init__(self, dim: int, people: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, people, bias=False)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.norm(features))


class BagOfTricksLearner(Learner):
    """A backbone and its neck; the backbone is kept.

    Neck and losses see the features of the whole batch, in each process of several: the hardest
    triplets are the batch's, and only the backbone's own batch norms see a process's share. For the
    same reason the batch is not taken in parts.

    Args:
        name: of the recipe.
        backbone: pre-trained.
        people: how many there are.
        settings: of the recipe.
        lr: the learning rate at a step.
    """

    can_accumulate = False

    def __init__(
        self,
        name: str,
        backbone: nn.Module,
        people: int,
        settings: BagOfTricks.Settings,
        lr: Callable[[int], float],
    ) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.lr = lr
        self.backbone = backbone
        self.neck = Neck(backbone.num_features, people)
        self.synchronised = settings.group is None

    @property
    def kept_network(self) -> nn.Module:
        return self.backbone

    @property
    def advice(self) -> str:
        return f"lower finetune.{self.name}.lr"

    def networks(self) -> list[nn.Module]:
        return [self.backbone]

    def optimizer(self) -> torch.optim.Optimizer:
        """Weights and biases; all decay.

        Of a Swin, the tables of relative positions count as biases, as published.
        """
        learning = {name: p for name, p in self.named_parameters() if p.requires_grad}
        weights = [p for name, p in learning.items() if "bias" not in name]
        biases = [p for name, p in learning.items() if "bias" in name]
        groups = [
            {"params": weights, "decays": True},
            {"params": biases, "decays": True, "times": BIAS_LR_FACTOR},
        ]
        return sgd(groups, self.lr(0), MOMENTUM)

    def rates(self, step: int, steps: int) -> Rates:
        return Rates(self.lr(step), self.settings.weight_decay)

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = apply_in_groups(self.backbone, views[0], self.settings.group)
        features = ranks.gather_with_gradient(own)
        people = ranks.gather(identities)
        # In float32: distances are differences of large numbers.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits = self.neck(features)
            identity = cross_entropy(logits, people)
            triplet = batch_hard_triplet(features, people)
            accuracy = (logits.argmax(1) == people).float().mean()
        watched = {"identity_loss": identity, "triplet_loss": triplet, "accuracy": accuracy}
        return identity + triplet, watched
