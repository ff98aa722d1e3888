"""HSV-stripe histograms: what colours a person wears, from head to foot. Needs no weights.

In the line of Farenzena et al., "Person re-identification by symmetry-driven accumulation of local
features", CVPR 2010 (weighted HSV histograms of body parts), with plain horizontal stripes for
parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from cion_core.config import Count, Positive, Section
from cion_core.embed.embedders.base import Embedder
from cion_core.registry import Style
from cion_core.runtime import Runtime


class Stripes(Embedder):
    """HSV-stripe histograms with the settings of a card."""

    about = "Colour histograms of horizontal stripes: no training, no weights"
    style = Style("#8a8f98", (0, (1, 1)))

    class Settings(Section):
        """The settings in a stripes model's card.

        Colours count in `hue` x `saturation` x `value` bins, greys in `value` bins of their own.

        Attributes:
            image: (height, width) that every image is brought to.
            stripes: how many, from head to foot.
            hue: bins.
            saturation: bins.
            value: bins.
            grey: saturation or value (0..1) below which a pixel has no reliable hue, and is grey.
            centre: the standard deviation, in image widths, of the Gaussian that plays down the
                background at the sides.
        """

        image: tuple[int, int]
        stripes: Count
        hue: Count
        saturation: Count
        value: Count
        grey: Annotated[float, Field(ge=0, lt=1)]
        centre: Positive

        @property
        def bins(self) -> int:
            """Bins per stripe."""
            return self.hue * self.saturation * self.value + self.value

        @property
        def dim(self) -> int:
            """Width of a feature."""
            return self.stripes * self.bins

    def __init__(self, folder: Path, settings: Settings, runtime: Runtime) -> None:
        super().__init__(folder, settings, runtime)
        self.dim = settings.dim

    def prepare(self, image: np.ndarray) -> np.ndarray:
        height, width = self.settings.image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return describe(images, self.settings)


def describe(images: Sequence[np.ndarray], s: Stripes.Settings) -> np.ndarray:
    """Describe images by the colours of their stripes.

    Each stripe's histogram sums to one before the square root is taken (Hellinger kernel), so that
    the dot product of two features is the mean Bhattacharyya coefficient of their stripes.

    Args:
        images: n images, RGB uint8 [H, W, 3] of any sizes.
        s: a card's settings.

    Returns:
        float32 [n, s.dim], non-negative, L2-normalised.
    """
    n, (height, width) = len(images), s.image
    if not n:
        return np.empty((0, s.dim), np.float32)
    stack = np.empty((n, height, width, 3), np.uint8)
    for out, image in zip(stack, images, strict=True):
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(stack.reshape(n * height, width, 3), cv2.COLOR_RGB2HSV_FULL)
    # Pixel rows of all images below each other; stripes are numbered through, too.
    number, row = np.divmod(np.arange(n * height), height)
    stripe = number * s.stripes + row * s.stripes // height
    column = (np.arange(width) + 0.5) / width - 0.5
    weight = np.exp(-0.5 * (column / s.centre) ** 2)
    index = _colour(hsv, s) + (stripe * s.bins)[:, None]
    weights = np.broadcast_to(weight, index.shape)
    counts = np.bincount(index.ravel(), weights.ravel(), minlength=n * s.dim).reshape(-1, s.bins)
    share = counts / (counts.sum(axis=1, keepdims=True) * s.stripes)
    return np.sqrt(share).reshape(n, s.dim).astype(np.float32)


def _colour(hsv: np.ndarray, s: Stripes.Settings) -> np.ndarray:
    """The bin (0..s.bins - 1) of each pixel of uint8 [rows, columns, 3], hue over 0..255."""
    hue, saturation, value = (hsv[..., channel].astype(np.int64) for channel in range(3))
    # Each channel's own bin, of equal parts of 0..255.
    hue_bin = hue * s.hue // 256
    saturation_bin = saturation * s.saturation // 256
    value_bin = value * s.value // 256
    colour = (hue_bin * s.saturation + saturation_bin) * s.value + value_bin
    # The last `s.value` bins are those of greys.
    grey = s.bins - s.value + value_bin
    return np.where(np.minimum(saturation, value) < s.grey * 255, grey, colour)
