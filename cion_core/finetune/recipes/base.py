"""What a fine-tuning recipe must do."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from torch import nn

from cion_core import zoo
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.settings import Finetune
from cion_core.registry import Part
from cion_core.training.learner import Learner
from cion_core.training.sampler import Sampler
from cion_core.zoo.builder import Builder
from cion_core.zoo.card import Card


class Recipe(Part, Builder, of=RECIPES):
    """A way to fine-tune a backbone on labelled people. To add one, write one file with a subclass:

        class Mine(Recipe):
            about = "What it does, in one line"

            class Settings(Section):             # its own parameters: finetune.mine in params.yaml
                steps: Count
                ...

    It says how long it trains, which images meet in a batch, what is done to each, and what learns from them: a
    `Learner` around the pre-trained backbone, with heads, losses, optimiser and schedule, which says in `exported` what
    is kept of it. Where that is more than the backbone, `inference` builds it again, and the card of the model folder
    names this class, so that evaluation and export find it. `bag_of_tricks.py` is an example.

    `self.p` is the section `finetune` of params.yaml, `self.settings` the recipe's own.
    """

    def __init__(self, p: Finetune) -> None:
        self.p, self.settings = p, p.settings(self.name)

    @property
    def image(self) -> tuple[int, int] | None:
        """(height, width) that images are brought to; None: what the backbone was pre-trained with."""
        return None

    @property
    @abstractmethod
    def steps(self) -> int:
        """How long it trains."""

    @abstractmethod
    def sampler(self, labels: np.ndarray) -> Sampler:
        """Which images meet at which step. labels int64 [N]: the person of each image, numbered from 0.

        Raises:
            ValueError: people or images are too few; it names the parameter and what would be valid.
        """

    @abstractmethod
    def augment(self, image: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """A changed copy of an image, RGB uint8 [H, W, 3] of the training size; all randomness from `draws`."""

    @abstractmethod
    def learner(self, backbone: nn.Module, people: int) -> Learner:
        """What is trained, around the pre-trained backbone: [B, 3, H, W] to [B, backbone.num_features]."""

    @classmethod
    def inference(cls, card: Card) -> nn.Module:
        """A fresh module, of random weights, for the weights that are kept; here the bare backbone.

        It must take the state dict of the learner's `exported`, and have `num_features`, the width of its output.
        `card.image` is the recipe's size, and `card.extra["finetuned"]["settings"]` its settings as JSON holds them
        (lists for tuples).
        """
        return zoo.create_model(card.backbone, card.image)

    @classmethod
    def built_by(cls) -> str:
        """How a card names the builder of `inference`; empty for the bare backbone, which needs none."""
        bare = cls.inference.__func__ is Recipe.inference.__func__
        return "" if bare else f"{cls.__module__}.{cls.__qualname__}"
