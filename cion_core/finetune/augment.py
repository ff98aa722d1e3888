"""Augmentation of labelled images: flip, shift and random erasing, as the published recipes have
it.

An image goes through in this order: it is mirrored, padded with black and cut back to its size
elsewhere, normalised, and partly erased.
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
    """Random erasing (Zhong et al. 2020, section 3.2): with `share`, a rectangle that fits is
    covered.

    Its area is a uniform part in `area` of the image; its height over its width is drawn from
    `ratio`, uniformly or, with `log`, uniformly in its logarithm. It must be lower and narrower
    than the image: of at most `tries` draws the first that is. It is filled with `fill`, a value
    per channel of the normalised image, or, None, with standard normal noise, another value for
    every pixel and channel.
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
            ratio = (
                np.exp(draws.uniform(*np.log(self.ratio)))
                if self.log
                else draws.uniform(*self.ratio)
            )
            height, width = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if height < rows and width < columns:
                top, left, height, width = place_box((rows, columns), height, width, draws)
                part = image[:, top : top + height, left : left + width]
                part[:] = (
                    draws.standard_normal(part.shape)
                    if self.fill is None
                    else np.array(self.fill)[:, None, None]
                )
                return


@dataclass(frozen=True)
class Augmentation:
    """Flip, shift by up to `pad` pixels each way, and erasing."""

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
        """A changed and normalised copy, float32 [3, H, W], of an image of the training size, RGB
        uint8 [H, W, 3].
        """
        image = image[:, ::-1] if draws.random() < self.flip else image
        rows, columns = image.shape[:2]
        top, left = draws.integers(0, 2 * self.pad + 1, 2)
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(image), *[self.pad] * 4, cv2.BORDER_CONSTANT
        )
        shifted = (
            padded[top : top + rows, left : left + columns].transpose(2, 0, 1).astype(np.float32)
        )
        normal = (shifted / np.float32(255) - _column(mean)) / _column(std)
        self.erasing(normal, draws)
        return normal


def _column(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]
