"""What an embedder must do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cion_core.config import Section
from cion_core.embed.embedders import EMBEDDERS
from cion_core.registry import Part
from cion_core.runtime import Runtime

if TYPE_CHECKING:
    from torch import nn


class Embedder(Part, of=EMBEDDERS):
    """Images to features, by a model folder.

    An embedder is one file of this package with a subclass that has `about`, a one-line description
    shown to users, and `__call__`, and that sets `dim`. A model folder chooses it in its card.json:
    `"embedder": "stripes"`, and beside that the embedder's `Settings`. A card that names none is a
    zoo model's. params.yaml names the model folder.

    Attributes:
        model: the name of the model folder.
        dim: the width of a feature; to be set by the subclass.
        folder: the model folder.
        weights: the SHA-256 of its weights; None where it has none.
        device: where it runs, as torch calls it.
        network: the torch module that it runs on images of `size` (height, width), for whoever
            counts what that costs; None where nothing in it is learnt.
        overlaps: whether its device goes on by itself after `begin`.
    """

    model: str
    dim: int
    weights: str | None = None
    device: str = "cpu"
    network: nn.Module | None = None
    size: tuple[int, int] | None = None
    overlaps: bool = False

    def __init__(self, folder: Path, settings: Section, runtime: Runtime) -> None:
        self.model, self.folder = folder.name, folder
        self.settings = settings

    @property
    def preparation(self) -> tuple[tuple, tuple] | None:
        """Mean and std per RGB channel of images scaled to 0..1; None: images stay as they are."""
        return None

    def prepared_as(self, mean: tuple, std: tuple) -> Embedder:
        """Make the same model for images that are normalised otherwise.

        Args:
            mean: per RGB channel of images scaled to 0..1.
            std: as `mean`.

        Raises:
            NotImplementedError: the embedder has no `preparation`.
        """
        raise NotImplementedError(f"{self.model} does not normalise its images")

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Do what can be done to one image before its batch is there: mostly, resize it.

        It is called in other threads. By default nothing is done.

        Args:
            image: RGB uint8 [H, W, 3].

        Returns:
            An image whose feature is the same.
        """
        return image

    def begin(self, images: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
        """Start with some images, so that the next ones are prepared meanwhile.

        Asked of embedders that say `overlaps`.

        Args:
            images: as `__call__` takes them.

        Returns:
            What waits for their features, and returns them.
        """
        features = self(images)
        return lambda: features

    @abstractmethod
    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed images.

        Args:
            images: n images, RGB uint8 [H, W, 3] of any sizes; there may be none.

        Returns:
            float32 [n, dim], of unit length; row i by image i alone. No row may be zero or not
            finite.
        """
