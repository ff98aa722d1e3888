"""Random rectangles in images: what random crops show, and what random erasing covers (Zhong et al. 2020)."""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]  # top, left, height, width
Span = tuple[float, float]
TRIES = 10  # to fit a random rectangle into the image, as torchvision


def sides(shape: tuple[int, int], share: Span, ratio: Span, rng: np.random.Generator) -> tuple[int, int]:
    """(longer by `ratio`, the other) sides of a random rectangle, in pixels; it may not fit into the image.

    Its area is a uniform share in `share` of an image of `shape` (height, width); the first side over the second is
    log-uniform in `ratio`.
    """
    area = shape[0] * shape[1] * rng.uniform(*share)
    aspect = np.exp(rng.uniform(*np.log(ratio)))
    return round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))


def placed(shape: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Box:
    """A rectangle of these sides, which fit, anywhere in an image of `shape` (height, width)."""
    return int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1)), height, width


def fitting(shape: tuple[int, int], share: Span, ratio: Span, rng: np.random.Generator) -> Box | None:
    """A random rectangle that fits, width / height in `ratio` (see `sides`); None where TRIES draws found none."""
    rows, columns = shape
    for _ in range(TRIES):
        width, height = sides(shape, share, ratio, rng)
        if 0 < width <= columns and 0 < height <= rows:
            return placed(shape, height, width, rng)
    return None


def cut_to_fit(shape: tuple[int, int], share: Span, ratio: Span, rng: np.random.Generator) -> Box:
    """A random rectangle, height / width in `ratio` (see `sides`), of which what would not fit is cut off."""
    height, width = sides(shape, share, ratio, rng)
    return placed(shape, min(shape[0], height), min(shape[1], width), rng)
