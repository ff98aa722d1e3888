"""Random rectangles in images: what random crops show, and what random erasing covers (Zhong et al. 2020)."""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]  # top, left, height, width
Span = tuple[float, float]
TRIES = 10  # to fit a random rectangle into the image, as torchvision


def placed(shape: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Box:
    """A rectangle of these sides, which fit, anywhere in an image of `shape` (height, width)."""
    return int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1)), height, width


def fitting(shape: tuple[int, int], share: Span, ratio: Span, rng: np.random.Generator) -> Box | None:
    """A random rectangle that fits into an image of `shape` (height, width); None where TRIES draws found none.

    Its area is a uniform share in `share` of the image's; width / height is log-uniform in `ratio`.
    """
    rows, columns = shape
    for _ in range(TRIES):
        area = rows * columns * rng.uniform(*share)
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        width, height = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < width <= columns and 0 < height <= rows:
            return placed(shape, height, width, rng)
    return None
