"""Augmentation of labelled images as in the published recipes: flip, shift and random erasing.

An image is mirrored, shifted with black beside it, normalised, and partly erased, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cion_core.training.boxes import place_box

Span = tuple[float, float]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Erasing:
    """Random erasing (Zhong et al. 2020, section 3.2): a rectangle that fits is covered.

    Attributes:
        area: the least and the largest share of the image's area, drawn uniformly.
        ratio: the least and the largest height / width.
        log: whether the logarithm of the ratio is drawn uniformly, or the ratio itself.
        tries: draws of a rectangle. The first is taken that is lower and narrower than the image;
            where none is, nothing is covered.
        fill: a value per channel of the normalised image; None: standard normal noise, another
            value for every pixel and channel.
        share: of the images that are erased.
    """

    area: Span
    ratio: Span
    log: bool
    tries: int
    fill: Triple | None
    share: float = 0.5

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> None:
        """Erase in place.

        Args:
            image: float32 [3, H, W], normalised.
            rng: by which the rectangle is drawn.
        """
        if rng.random() >= self.share:
            return
        rows, columns = image.shape[1:]
        for _ in range(self.tries):
            area = rows * columns * rng.uniform(*self.area)
            ratio = self._draw_ratio(rng)
            height, width = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if height < rows and width < columns:
                top, left, height, width = place_box((rows, columns), height, width, rng)
                covered = image[:, top : top + height, left : left + width]
                if self.fill is None:
                    covered[:] = rng.standard_normal(covered.shape)
                else:
                    covered[:] = np.array(self.fill)[:, None, None]
                return

    def _draw_ratio(self, rng: np.random.Generator) -> float:
        if self.log:
            return np.exp(rng.uniform(*np.log(self.ratio)))
        return rng.uniform(*self.ratio)


@dataclass(frozen=True)
class Augmentation:
    """Flip, shift and erasing.

    Attributes:
        pad: how many pixels an image is shifted at most, each way.
        erasing: what comes last.
        flip: the share of images that are mirrored.
    """

    pad: int
    erasing: Erasing
    flip: float = 0.5

    def __call__(
        self,
        image: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """A changed and normalised copy of an image.

        Args:
            image: RGB uint8 [H, W, 3], of the training size.
            mean, std: of each channel, for values of 0 to 1.
            rng: by which all is drawn.

        Returns:
            float32 [3, H, W].
        """
        # 1. Flip.
        image = image[:, ::-1] if rng.random() < self.flip else image

        # 2. Shift: the image is padded on all sides, and cut back to its size elsewhere.
        rows, columns = image.shape[:2]
        top, left = rng.integers(0, 2 * self.pad + 1, 2)
        borders = [self.pad] * 4
        padded = cv2.copyMakeBorder(np.ascontiguousarray(image), *borders, cv2.BORDER_CONSTANT)
        shifted = padded[top : top + rows, left : left + columns]

        # 3. Channels first, normalised.
        channels = shifted.transpose(2, 0, 1).astype(np.float32)
        normal = (channels / np.float32(255) - _per_channel(mean)) / _per_channel(std)

        # 4. Erasing.
        self.erasing(normal, rng)
        return normal


def _per_channel(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]
