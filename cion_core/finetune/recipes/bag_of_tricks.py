"""The customary recipe (Luo et al. 2019, "Bag of tricks"): triplets see the feature, a classifier sees it normed."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cion_core.config import Count, Positive, Section
from cion_core.finetune.augment import augment
from cion_core.finetune.losses import batch_hard_triplet
from cion_core.finetune.recipes.base import Recipe
from cion_core.training import ranks
from cion_core.training.learner import Learner, Rates
from cion_core.training.sampler import PeopleSampler
from cion_core.training.schedules import warmup_cosine

WARMUP = 0.1  # of the steps, and one at least


class BagOfTricks(Recipe):
    """Label-smoothed cross-entropy behind a BNNeck, and batch-hard triplets, at the size of pre-training."""

    about = "Label-smoothed cross-entropy behind a BNNeck, and batch-hard triplets (Luo et al. 2019)"

    class Settings(Section):
        """Batches hold `identities` x `instances` images; margin is of the triplets, smoothing of the labels."""

        steps: Count
        identities: Annotated[int, Field(ge=2)]
        instances: Annotated[int, Field(ge=2)]
        lr: Positive
        weight_decay: Annotated[float, Field(ge=0)]
        margin: Annotated[float, Field(ge=0)]
        smoothing: Annotated[float, Field(ge=0, lt=1)]

    @property
    def steps(self) -> int:
        return self.settings.steps

    def sampler(self, labels: np.ndarray) -> PeopleSampler:
        people = len(np.unique(labels))
        if people < self.settings.identities:
            raise ValueError(
                f"{people} training people, but finetune.{self.name}.identities asks for {self.settings.identities} "
                f"in a batch; valid: 2 to {people}"
            )
        return PeopleSampler(labels, self.settings.identities, self.settings.instances, self.p.seed)

    def augment(self, image: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return augment(image, draws)

    def learner(self, backbone: nn.Module, people: int) -> Necked:
        return Necked(self.name, self.settings, backbone, people)


class Neck(nn.Module):
    """Batch norm without shift, then a linear classifier: float [B, D] to logits [B, people]."""

    def __init__(self, dim: int, people: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, people, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.norm(features))


class Necked(Learner):
    """A backbone and its neck; the backbone is kept.

    Neck and losses see the features of the whole batch, in each process of several: the hardest triplets are the
    batch's, and only the backbone's own batch norms see a process's share. For the same reason the batch is not taken
    in parts.
    """

    splits = False

    def __init__(self, name: str, settings: BagOfTricks.Settings, backbone: nn.Module, people: int) -> None:
        super().__init__()
        self.name, self.settings = name, settings
        self.backbone, self.neck = backbone, Neck(backbone.num_features, people)

    @property
    def exported(self) -> nn.Module:
        return self.backbone

    @property
    def advice(self) -> str:
        return f"lower finetune.{self.name}.lr"

    def networks(self) -> list[nn.Module]:
        return [self.backbone]

    def optimizer(self) -> torch.optim.Optimizer:
        learning = [w for part in (self.backbone, self.neck) for w in part.parameters() if w.requires_grad]
        return torch.optim.AdamW([{"params": learning, "decays": True}], lr=self.settings.lr)

    def rates(self, step: int, steps: int) -> Rates:
        lr = warmup_cosine(self.settings.lr, 0.0, step, steps, max(WARMUP, 1 / steps), beyond=1)
        return Rates(lr, self.settings.weight_decay)

    def forward(self, views: list[Tensor], instances: int, identities: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features, people = ranks.joined(self.backbone(views[0])), ranks.gather(identities)
        with torch.autocast(features.device.type, enabled=False):  # distances are differences of large numbers
            features = features.float()
            logits = self.neck(features)
            identity = cross_entropy(logits, people, label_smoothing=self.settings.smoothing)
            triplet = batch_hard_triplet(features, people, self.settings.margin)
            right = (logits.argmax(1) == people).float().mean()
        return identity + triplet, {"identity_loss": identity, "triplet_loss": triplet, "accuracy": right}
