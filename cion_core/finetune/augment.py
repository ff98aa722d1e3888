"""Augmentation of labelled images as published recipes have it: flip, shift, random erasing.

An image goes through in this order: it is mirrored, padded with black and cut back to its size
elsewhere, normalised, and partly erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cion_core.training.boxes import place_randomly

Span = tuple[float, float]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Erasing:
    """Random erasing (Zhong et al. 2020, section 3.2): a rectangle of some images is covered.

    The rectangle must be lower and narrower than the image.

    Attributes:
        area: from which to which share of the image the rectangle's area is drawn.
        ratio: from which to which height / width it is drawn.
        log: the ratio is even in its logarithm.
        tries: draws, of which the first is taken that fits; where none does, nothing is covered.
        fill: with what it is covered, a value for each channel of the normalised image; None:
            standard normal noise, another value for every pixel and channel.
        share: of the images that are changed.
    """

    area: Span
    ratio: Span
    log: bool
    tries: int
    fill: Triple | None
    share: float = 0.5

    def __call__(self, image: np.ndarray, draws: np.random.Generator) -> None:
        """Erase in place; image float32 [3, H, W], normalised."""
        if draws.random() >= self.share:
            return
        rows, columns = image.shape[1:]
        for _ in range(self.tries):
            area = rows * columns * draws.uniform(*self.area)
            ratio = self._draw_ratio(draws)
            height = round(np.sqrt(area * ratio))
            width = round(np.sqrt(area / ratio))
            if height < rows and width < columns:
                top, left, height, width = place_randomly((rows, columns), height, width, draws)
                part = image[:, top : top + height, left : left + width]
                if self.fill is None:
                    part[:] = draws.standard_normal(part.shape)
                else:
                    part[:] = np.array(self.fill)[:, None, None]
                return

    def _draw_ratio(self, draws: np.random.Generator) -> float:
        if self.log:
            return np.exp(draws.uniform(*np.log(self.ratio)))
        return draws.uniform(*self.ratio)


@dataclass(frozen=True)
class Augmentation:
    """Flip, shift and erasing.

    Attributes:
        pad: by how many pixels an image is shifted each way, at most.
        erasing: what is covered.
        flip: the share of the images that are mirrored.
    """

    pad: int
    erasing: Erasing
    flip: float = 0.5

    def __call__(
        self,
        image: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        draws: np.random.Generator,
    ) -> np.ndarray:
        """A changed and normalised copy of an image.

        Args:
            image: RGB uint8 [H, W, 3], of the training size.
            mean: of each channel of images scaled to 0..1.
            std: likewise.
            draws: decides on what is changed.

        Returns:
            float32 [3, H, W].
        """
        # 1. Mirror.
        image = image[:, ::-1] if draws.random() < self.flip else image

        # 2. Shift: pad with black, and cut out elsewhere.
        rows, columns = image.shape[:2]
        top, left = draws.integers(0, 2 * self.pad + 1, 2)
        image = np.ascontiguousarray(image)
        padded = cv2.copyMakeBorder(image, *[self.pad] * 4, cv2.BORDER_CONSTANT)
        shifted = padded[top : top + rows, left : left + columns]

        # 3. Normalise, and erase.
        shifted = shifted.transpose(2, 0, 1).astype(np.float32)
        normal = (shifted / np.float32(255) - _column(mean)) / _column(std)
        self.erasing(normal, draws)
        return normal


def _column(values: Sequence[float]) -> np.ndarray:
    """A value of each channel, to go with its pixels."""
    return np.asarray(values, np.float32)[:, None, None]
