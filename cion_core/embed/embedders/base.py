"""What an embedder must do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
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

    An embedder is one file of this package with a subclass that has `about`, a one-line description shown to users, and
    `__call__`, and that sets `dim`. A model folder chooses it in its card.json: `"embedder": "stripes"`, and beside
    that the embedder's `Settings`. A card that names none is a zoo model's. params.yaml names the model folder.

    Attributes:
        model: the name of the model folder.
        dim: the width of a feature; to be set by the subclass.
        folder: the model folder.
        weights: the SHA-256 of its weights; None where it has none.
        device: where it runs, as torch calls it.
        network: the torch module that it runs on images of `size` (height, width), for whoever counts what that costs;
            None where nothing in it is learnt.
    """

    model: str
    dim: int
    weights: str | None = None
    device: str = "cpu"
    network: nn.Module | None = None
    size: tuple[int, int] | None = None

    def __init__(self, folder: Path, settings: Section, runtime: Runtime) -> None:
        self.model, self.folder = folder.name, folder
        self.settings = settings

    @abstractmethod
    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any sizes -> float32 [n, dim], of unit length; row i by image i alone.

        There may be no images. No row may be zero or not finite.
        """
