"""Cluster Contrast (Dai et al., ACCV 2022): without labels, clusters of images stand for people.

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
from cion_core.finetune.clustering import K1, K2, dbscan, link_images, silhouette
from cion_core.finetune.features import extract_features
from cion_core.finetune.groups import apply_in_groups
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
# Of the height: 10 pixels at the published size, and as much of a person at any other.
PAD = 10 / 256
ERASING = Erasing(
    area=(0.02, 0.4), ratio=(0.3, 1 / 0.3), log=False, tries=100, fill=(0.485, 0.456, 0.406)
)
MOMENTUM = 0.9  # of SGD
FALL = 0.1  # what the learning rate is multiplied by


class ClusterContrast(Recipe):
    """Rounds of clustering all images, and of learning to classify them by a memory of clusters.

    The settings' epochs are these rounds. The model is that of the last one. The published code
    keeps the best of several by their scores on the test set, which is selection on the test set.
    """

    about = (
        "Unsupervised: images are classified by a memory of their own clusters (Dai et al. 2022)"
    )
    supervised = False
    normalisation = (HALF, HALF)
    resizing = ("bicubic", "bicubic")

    class Settings(Section):
        """As published for Market-1501; MSMT17 has eps 0.7.

        Attributes:
            image: (height, width); null: pre-training's.
            epochs: rounds. Clusters are found anew at the beginning of each.
            iterations: steps in a round.
            identities, instances: clusters of a batch, and images of each.
            decay_every: rounds after which the learning rate falls to a tenth.
            momentum: what the memory keeps of a cluster at each step.
            clustering: dbscan, or linking, CION's own, which finds its threshold.
            eps: of DBSCAN, a Jaccard distance.
            neighbours: (k1, k2) of its k-reciprocal encoding; where people have fewer images than
                k1, it joins strangers.
            group: images that batch norms go by, a quarter of the batch as on the four cards of the
                published code; null: a process's share.
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
        return Augmentation(pad=round(PAD * self.size[0]), erasing=ERASING)

    def steps(self, people: np.ndarray) -> int:
        return self.settings.epochs * self.settings.iterations

    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> CameraSampler:
        """By clusters and cameras.

        Before the first round each image is somebody else. So batches have their size, and none is
        trained on.
        """
        s = self.settings
        if not (people >= 0).any():
            people = np.arange(len(people))
        return CameraSampler(people, cameras, s.identities, s.instances, self.seed, s.iterations)

    def learner(self, backbone: nn.Module, people: np.ndarray) -> ClusterContrastLearner:
        if not isinstance(backbone, ResNet):
            valid = [*names.STRUCTURES["ResNet"], *names.STRUCTURES["ResNet-IBN"], names.DEMO]
            raise CionError(
                f"finetune.{self.name}: {type(backbone).__name__} is not a backbone that it pools "
                f"anew; valid: {', '.join(valid)}, and timm's other ResNets"
            )
        most_clusters = len(people) // 2  # a cluster has two images at least
        return ClusterContrastLearner(self.name, self.settings, backbone, most_clusters)

    def find_labels(
        self, learner: ClusterContrastLearner, images: Images, cameras: np.ndarray
    ) -> np.ndarray | None:
        """Clusters of the images as the network sees them now; they are the learner's new memory.

        Returns:
            The cluster of each image, int64 [N]; -1: an outlier. None, and the memory as it is,
            where there are less than two clusters now and a round before had found more.

        Raises:
            CionError: there are less than two clusters in the first round, so there is nothing to
                distinguish.
        """
        features = unit(extract_features(learner.network, images, self.mean, self.std))
        labels = ranks.make_once(lambda: self._find_clusters(features, cameras))
        count = labels.max(initial=-1) + 1
        outliers = int((labels < 0).sum())
        if count >= 2:
            centres = centroids(features, labels, count)
            learner.begin_round(centres, outliers, silhouette(features, labels))
            return labels
        found = (
            f"finetune.{self.name}: {count} clusters among {len(labels)} images, {outliers} of "
            "them outliers"
        )
        if not learner.memory.count:
            advice = self._advise(outliers / len(labels))
            raise CionError(f"{found}; training needs two at least. {advice}")
        if ranks.rank() == 0:
            say(f"{found}; those of the round before are kept")
        return None

    def _find_clusters(self, features: np.ndarray, cameras: np.ndarray) -> np.ndarray:
        """The cluster of each of the unit features, int64 [N]."""
        s = self.settings
        if s.clustering == "linking":
            return link_images(features, cameras)
        return dbscan(features, s.eps, *s.neighbours)

    def _advise(self, outliers: float) -> str:
        """What to change where next to nothing was clustered, with this share of outliers."""
        if self.settings.clustering == "linking":
            return (
                f"Set finetune.{self.name}.clustering to dbscan, or begin from a backbone that "
                "tells people better"
            )
        change = "To find more, raise" if outliers > 0.5 else "To part them, lower"
        return f"{change} finetune.{self.name}.eps ({self.settings.eps})"

    @classmethod
    def inference(cls, card: Card) -> Embedding:
        return Embedding(zoo.create_model(card.backbone, card.image))


class Embedding(nn.Module):
    """A ResNet that pools by GeM, batch norm without shift, unit length.

    It is trained, images are clustered by its features, and it is kept. Normalised images float
    [B, 3, H, W] to float32 [B, num_features].
    """

    def __init__(self, backbone: ResNet) -> None:
        super().__init__()
        self.num_features = backbone.num_features
        backbone.global_pool = GeM()
        self.backbone = backbone
        self.norm = nn.BatchNorm1d(self.num_features)
        self.norm.bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.backbone(images)
        with torch.autocast(pooled.device.type, enabled=False):
            return normalize(self.norm(pooled.float()))


class ClusterContrastLearner(Learner):
    """An embedding and the memory of the round's clusters; the embedding is kept.

    The loss sees the features of the whole batch, in each process of several, and so does the
    memory: the hardest feature of a cluster is the batch's. For the same reason the batch is not
    taken in parts.

    Args:
        name: of the recipe.
        settings: of the recipe.
        backbone: pre-trained.
        rows: clusters that the memory can hold.
    """

    can_accumulate = False

    def __init__(
        self, name: str, settings: ClusterContrast.Settings, backbone: ResNet, rows: int
    ) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.synchronised = settings.group is None
        self.network = Embedding(backbone)
        self.memory = ClusterMemory(rows, self.network.num_features)
        self.register_buffer("outliers", torch.zeros(()))
        self.register_buffer("silhouette", torch.zeros(()))
        # Of the step: features [B, D] and clusters [B] of the whole batch.
        self._seen: tuple[Tensor, Tensor]

    @property
    def kept_network(self) -> Embedding:
        return self.network

    @property
    def advice(self) -> str:
        return f"lower finetune.{self.name}.lr"

    def begin_round(self, centres: np.ndarray, outliers: int, silhouette: float) -> None:
        """Fill the memory for a round of clusters.

        Args:
            centres: float32 [count, D], of unit length.
            outliers: images in no cluster, which is watched.
            silhouette: of the clusters, which is watched.
        """
        self.memory.fill(torch.from_numpy(centres))
        self.outliers.fill_(outliers)
        self.silhouette.fill_(silhouette)

    def networks(self) -> list[nn.Module]:
        return [self.network.backbone]

    def optimizer(self) -> torch.optim.Optimizer:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        return sgd([{"params": learning, "decays": True}], self.settings.lr, MOMENTUM)

    def rates(self, step: int, steps: int) -> Rates:
        round_number = step // self.settings.iterations
        falls = round_number // self.settings.decay_every
        return Rates(self.settings.lr * FALL**falls, self.settings.weight_decay)

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = apply_in_groups(self.network, views[0], self.settings.group)
        features = ranks.gather_with_gradient(own)
        clusters = ranks.gather(identities)
        self._seen = features.detach(), clusters
        # In float32: it is a softmax of 20 times the cosine.
        with torch.autocast(features.device.type, enabled=False):
            logits = self.memory(features) / self.settings.temperature
            loss = cross_entropy(logits, clusters)
        watched = {
            "accuracy": (logits.argmax(1) == clusters).float().mean(),
            "clusters": self.memory.count,
            "outliers": self.outliers,
            "silhouette": self.silhouette,
        }
        return loss, watched

    def after(self, rates: Rates) -> None:
        """Move the memory's centres.

        The published code does so within the backward pass, after the gradient, with the same
        result.
        """
        self.memory.update(*self._seen, self.settings.momentum)
