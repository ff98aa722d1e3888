"""What a fine-tuning recipe must do."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from torch import nn

from cion_core import zoo
from cion_core.config import Section
from cion_core.finetune.augment import Augmentation, Triple
from cion_core.finetune.images import Images
from cion_core.finetune.recipes import RECIPES
from cion_core.registry import Part
from cion_core.training.learner import Learner
from cion_core.training.sampler import Sampler
from cion_core.zoo.builder import Builder
from cion_core.zoo.card import Card


class Recipe(Part, Builder, of=RECIPES):
    """A way to fine-tune a backbone on labelled people, or on people whose labels it finds itself.

    To add one, write one file with a subclass:

        class Mine(Recipe):
            about = "What it does, in one line"

            class Settings(Section):             # its own parameters: finetune.mine in params.yaml
                image: tuple[Count, Count] | None
                ...

    It says how long it trains, which images meet in a batch, how they are prepared, and what learns
    from them: a `Learner` around the pre-trained backbone, with heads, losses, optimiser and
    schedule, which says in `kept_network` what is kept of it. Where that is more than the backbone,
    `inference` builds it again, and the card of the model folder names this class, so that
    evaluation and export find it. `bag_of_tricks.py` is an example, and `cluster_contrast.py` one
    that finds its own labels.

    Attributes:
        supervised: whether it is given who is on the images.
        every: steps in a round, at the beginning of which `find_labels` is called; None: never.
        normalisation: (mean, std) per RGB channel of images scaled to 0..1; None: those of
            pre-training.
        resizing: how images are brought to the training size, in training and later; see
            `images.resize`.
        settings: the recipe's own, of which `image` is the training size (height, width); None:
            pre-training's.
        seed: of the run.
    """

    supervised: ClassVar[bool] = True
    every: int | None = None
    normalisation: ClassVar[tuple[Triple, Triple] | None] = None
    resizing: ClassVar[tuple[str, str]] = ("", "")

    def __init__(self, settings: Section, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed
        self.mean: Triple = (0.0,) * 3
        self.std: Triple = (1.0,) * 3
        self.size: tuple[int, int] = (0, 0)

    def prepare(self, card: Card) -> None:
        """Take from a pre-trained model's card how images are prepared, where the recipe leaves it.

        Args:
            card: of the model.
        """
        self.mean, self.std = self.normalisation or (card.mean, card.std)
        self.size = tuple(self.settings.image or card.image)

    @property
    @abstractmethod
    def augmentation(self) -> Augmentation:
        """What is done to an image of the training size, `self.size`."""

    def view(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What a network is given of an image in training.

        Args:
            image: RGB uint8 [H, W, 3], of the training size.
            rng: from which all randomness comes.

        Returns:
            float32 [3, H, W].
        """
        return self.augmentation(image, self.mean, self.std, rng)

    @abstractmethod
    def steps(self, people: np.ndarray) -> int:
        """How many steps it trains.

        Args:
            people: int64 [N], who is on each image, as for `sampler`.
        """

    @abstractmethod
    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> Sampler:
        """Which images meet at which step.

        With `every` this is called before the first labels are known, when all are -1, and again in
        every round. Steps are counted from the beginning of the run.

        Args:
            people: int64 [N], who is on each image, numbered from 0 without a gap; -1: nobody
                knows, so it is in no batch.
            cameras: int64 [N].

        Raises:
            ValueError: people or images are too few; it names the parameter and what would be
                valid.
        """

    @abstractmethod
    def learner(self, backbone: nn.Module, people: np.ndarray) -> Learner:
        """What is trained, around the pre-trained backbone.

        Args:
            backbone: [B, 3, H, W] to [B, backbone.num_features].
            people: int64 [N], who is on each image, as for `sampler`.
        """

    def find_labels(
        self, learner: Learner, images: Images, cameras: np.ndarray
    ) -> np.ndarray | None:
        """Find labels at the beginning of a round. Every process must find the same.

        Args:
            learner: as it is now; it may be made ready for the labels.
            images: all of them, N.
            cameras: int64 [N].

        Returns:
            Who is on each image, int64 [N], as `sampler` takes it; None: as in the round before.
        """
        raise NotImplementedError(f"{self.name} sets `every` and must say how it finds labels")

    @classmethod
    def inference(cls, card: Card) -> nn.Module:
        """A fresh module, of random weights, for the weights that are kept; here the bare backbone.

        It must take the state dict of the learner's `kept_network`, and have `num_features`, the
        width of its output. `card.image` is the recipe's size, and
        `card.extra["finetuned"]["settings"]` its settings as JSON holds them (lists for tuples).
        """
        return zoo.create_model(card.backbone, card.image)

    @classmethod
    def built_by(cls) -> str:
        """How a card names the builder of `inference`; empty where it is the bare backbone."""
        is_bare = cls.inference.__func__ is Recipe.inference.__func__
        return "" if is_bare else f"{cls.__module__}.{cls.__qualname__}"
