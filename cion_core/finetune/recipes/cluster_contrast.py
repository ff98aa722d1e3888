"""Cluster Contrast (Dai et al., ACCV 2022): nobody says who is on the images; clusters of them
stand for people.

From a pre-trained backbone it is unsupervised learning (USL), from one that was fine-tuned on other
people it is domain adaptation (UDA), in which nothing of the source's images is used.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from cion_core import zoo
from cion_core.config import Count, Positive, Section
from cion_core.errors import CionError
from cion_core.finetune.augment import Augmentation, Erasing
from cion_core.finetune.camera_sampler import CameraSampler
from cion_core.finetune.clustering import K1, K2, dbscan, linking, silhouette
from cion_core.finetune.features import features
from cion_core.finetune.groups import grouped
from cion_core.finetune.images import Images
from cion_core.finetune.memory import ClusterMemory
from cion_core.finetune.pooling import GeM
from cion_core.finetune.recipes.base import Recipe
from cion_core.neighbours.arrays import centroids, unit
from cion_core.progress import say
from cion_core.training import ranks
from cion_core.training.learner import Learner, Rates
from cion_core.training.optimizers import sgd
from cion_core.zoo import names
from cion_core.zoo.card import Card
from cion_core.zoo.resnet import ResNet

# Of the public configurations of CION_ReIDZoo (CContrast) and the code of Cluster Contrast.
HALF = (0.5, 0.5, 0.5)
PAD = (
    10 / 256
)  # of the height: 10 pixels at the published size, and as much of a person at any other
ERASING = Erasing(
    area=(0.02, 0.4), ratio=(0.3, 1 / 0.3), log=False, tries=100, fill=(0.485, 0.456, 0.406)
)
MOMENTUM = 0.9  # of SGD
FALL = 0.1  # what the learning rate is multiplied by


class ClusterContrast(Recipe):
    """Rounds of clustering all images and telling them by the memory of their clusters.

    The model is that of the last epoch. The published code keeps the best of several by their
    scores on the test set, which is selection on the test set.
    """

    about = "Unsupervised: images are told by a memory of their own clusters (Dai et al. 2022)"
    supervised = False
    normalisation = (HALF, HALF)
    resizing = ("bicubic", "bicubic")

    class Settings(Section):
        """As published for Market-1501; MSMT17 has eps 0.7.

        An epoch is `iterations` batches of `identities` x `instances` images, and clusters are
        found at its beginning. The rate falls to a tenth every `decay_every` epochs. momentum: what
        the memory keeps of a cluster at each step. clustering: dbscan, or linking, CION's own,
        which finds its threshold. eps: of DBSCAN, a Jaccard distance. neighbours: (k1, k2) of its
        k-reciprocal encoding; where people have fewer images than k1, it joins strangers. group:
        images that batch norms go by, a quarter of the batch as on the four cards of the published
        code; null: a process's share.
        """

        image: tuple[Count, Count] | None = (256, 128)
        epochs: Count = 50
        iterations: Count = 200
        identities: Annotated[int, Field(ge=2)] = 32
        instances: Annotated[int, Field(ge=2)] = 8
        lr: Positive = 3.5e-4
        decay_every: Count = 20
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4
        temperature: Positive = 0.05
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.2
        clustering: Literal["dbscan", "linking"] = "dbscan"
        eps: Annotated[float, Field(gt=0, lt=1)] = 0.6
        neighbours: tuple[Count, Count] = (K1, K2)
        group: Annotated[int, Field(ge=2)] | None = 64

    def __init__(self, settings: Settings, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.every = settings.iterations

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(round(PAD * self.size[0]), ERASING)

    def steps(self, people: np.ndarray) -> int:
        return self.settings.epochs * self.settings.iterations

    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> CameraSampler:
        """Before the first round everybody is somebody else: batches have their size, and none is
        trained on.
        """
        s, found = self.settings, people if (people >= 0).any() else np.arange(len(people))
        return CameraSampler(found, cameras, s.identities, s.instances, self.seed, s.iterations)

    def learner(self, backbone: nn.Module, people: np.ndarray) -> Contrasted:
        if not isinstance(backbone, ResNet):
            valid = [*names.STRUCTURES["ResNet"], *names.STRUCTURES["ResNet-IBN"], names.DEMO]
            raise CionError(
                f"finetune.{self.name}: {type(backbone).__name__} is not a backbone that it pools "
                f"anew; valid: {', '.join(valid)}, and timm's other ResNets"
            )
        return Contrasted(
            self.name, self.settings, backbone, len(people) // 2
        )  # a cluster has two images at least

    def labels(self, learner: Contrasted, images: Images, cameras: np.ndarray) -> np.ndarray | None:
        """Clusters of the images as the network sees them now; the learner's memory is filled with
        their means.

        None, and the memory as it is, where there are less than two clusters now and a round before
        had found more.

        Raises:
            CionError: there are less than two clusters from the first, and so nothing to tell
                apart.
        """
        found = unit(features(learner.network, images, self.mean, self.std))
        labels = ranks.first(lambda: self._clusters(found, cameras))
        count, outliers = labels.max(initial=-1) + 1, int((labels < 0).sum())
        if count < 2:
            told = (
                f"finetune.{self.name}: {count} clusters among {len(labels)} images, {outliers} of "
                "them outliers"
            )
            if learner.memory.count:
                if ranks.rank() == 0:
                    say(f"{told}; those of the round before are kept")
                return None
            raise CionError(
                f"{told}; two are the least that can be told apart. "
                f"{self._advice(outliers / len(labels))}"
            )
        learner.begin(centroids(found, labels, count), outliers, silhouette(found, labels))
        return labels

    def _clusters(self, found: np.ndarray, cameras: np.ndarray) -> np.ndarray:
        """The cluster of each of the unit features, int64 [N]."""
        s = self.settings
        return (
            linking(found, cameras)
            if s.clustering == "linking"
            else dbscan(found, s.eps, *s.neighbours)
        )

    def _advice(self, share: float) -> str:
        """What to change where next to nothing was clustered, of so large a share of outliers."""
        if self.settings.clustering == "linking":
            return (
                f"Set finetune.{self.name}.clustering to dbscan, or begin from a backbone that "
                "tells people better"
            )
        way = "raise" if share > 0.5 else "lower"
        return (
            f"To {'find more' if share > 0.5 else 'part them'}, {way} finetune.{self.name}.eps "
            f"({self.settings.eps})"
        )

    @classmethod
    def inference(cls, card: Card) -> Embedding:
        return Embedding(zoo.create_model(card.backbone, card.image))


class Embedding(nn.Module):
    """What is trained, clustered by and kept: a ResNet that pools by GeM, batch norm without shift,
    unit length.

    float [B, 3, H, W], normalised, to float32 [B, num_features].
    """

    def __init__(self, backbone: ResNet) -> None:
        super().__init__()
        self.num_features = backbone.num_features
        backbone.global_pool = GeM()
        self.backbone, self.norm = backbone, nn.BatchNorm1d(self.num_features)
        self.norm.bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.backbone(images)
        with torch.autocast(pooled.device.type, enabled=False):
            return normalize(self.norm(pooled.float()))


class Contrasted(Learner):
    """An embedding and the memory of the round's clusters; the embedding is kept.

    The loss sees the features of the whole batch, in each process of several, and so does the
    memory: f* is the batch's. For the same reason the batch is not taken in parts.
    """

    splits = False

    def __init__(
        self, name: str, settings: ClusterContrast.Settings, backbone: ResNet, rows: int
    ) -> None:
        super().__init__()
        self.name, self.settings, self.synchronised = name, settings, settings.group is None
        self.network = Embedding(backbone)
        self.memory = ClusterMemory(rows, self.network.num_features)
        self.register_buffer("outliers", torch.zeros(()))
        self.register_buffer("silhouette", torch.zeros(()))
        self._seen: tuple[
            Tensor, Tensor
        ]  # of the step: features [B, D] and clusters [B] of the whole batch

    @property
    def exported(self) -> Embedding:
        return self.network

    @property
    def advice(self) -> str:
        return f"lower finetune.{self.name}.lr"

    def begin(self, centres: np.ndarray, outliers: int, silhouette: float) -> None:
        """A round of clusters with these centres, float32 [count, D]; what is watched of it."""
        self.memory.fill(torch.from_numpy(centres))
        self.outliers.fill_(outliers)
        self.silhouette.fill_(silhouette)

    def networks(self) -> list[nn.Module]:
        return [self.network.backbone]

    def optimizer(self) -> torch.optim.Optimizer:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        return sgd([{"params": learning, "decays": True}], self.settings.lr, MOMENTUM)

    def rates(self, step: int, steps: int) -> Rates:
        falls = step // self.settings.iterations // self.settings.decay_every
        return Rates(self.settings.lr * FALL**falls, self.settings.weight_decay)

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = ranks.joined(grouped(self.network, views[0], self.settings.group))
        people = ranks.gather(identities)
        self._seen = features.detach(), people
        with torch.autocast(
            features.device.type, enabled=False
        ):  # a softmax at 20 times the cosine
            logits = self.memory(features) / self.settings.temperature
            loss = cross_entropy(logits, people)
        right = (logits.argmax(1) == people).float().mean()
        of_round = {
            "clusters": self.memory.count,
            "outliers": self.outliers,
            "silhouette": self.silhouette,
        }
        return loss, {"accuracy": right, **of_round}

    def after(self, rates: Rates) -> None:
        """The memory follows: in the published code within the backward pass, behind the gradient,
        to the same end.
        """
        self.memory.update(*self._seen, self.settings.momentum)
