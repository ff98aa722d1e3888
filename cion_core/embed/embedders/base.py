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
        """Mean and std per RGB channel of images scaled to 0..1; None where images are not
        normalised.
        """
        return None

    def prepared_as(self, mean: tuple, std: tuple) -> Embedder:
        """The same model for images that are normalised otherwise; only where there is a
        `preparation`.
        """
        raise NotImplementedError(f"{self.model} does not normalise its images")

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """What can be done to one image before its batch is there, in another thread: mostly to
        resize it.

        The feature of what comes out is the same as that of `image`. By default nothing is done.
        """
        return image

    def begin(self, images: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
        """Start with some images, and return what waits for their features (see `__call__`).

        Asked of embedders that say `overlaps`, so that the next images are prepared meanwhile.
        """
        features = self(images)
        return lambda: features

    @abstractmethod
    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any sizes -> float32 [n, dim], of unit length; row i by
        image i alone.

        There may be no images. No row may be zero or not finite.
        """
