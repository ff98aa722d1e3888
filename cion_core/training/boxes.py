"""Random rectangles in images.

They are what random crops show, and what random erasing covers (Zhong et al. 2020).
"""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]  # top, left, height, width
Span = tuple[float, float]
TRIES = 10  # to fit a random rectangle into the image, as torchvision
# Random numbers that `fit_boxes` takes for one rectangle: areas, ratios, and the place.
UNIFORMS = 2 * TRIES + 2


def place_box(shape: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Box:
    """A rectangle of these sides, anywhere in an image of `shape` (height, width); it must fit."""
    top = int(rng.integers(shape[0] - height + 1))
    left = int(rng.integers(shape[1] - width + 1))
    return top, left, height, width


def fit_boxes(
    shape: np.ndarray, share: np.ndarray, ratio: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Random rectangles that fit into images, one in each.

    An area is a uniform share of its image's; width / height is log-uniform. TRIES of them are
    drawn, and the first that fits is taken.

    Args:
        shape: int [..., 2], height and width of each image.
        share: float [..., 2], the least and the largest share of the image.
        ratio: float [..., 2], the least and the largest width / height.
        uniform: float [..., UNIFORMS], random numbers of [0, 1).

    Returns:
        Boxes, int64 [..., 4], and whether one of the tries fitted, bool [...]. A box that does not
        fit means nothing.
    """
    rows, columns = np.moveaxis(shape[..., None, :], -1, 0)
    area_numbers, ratio_numbers, place = np.split(uniform, [TRIES, 2 * TRIES], -1)

    # 1. The sides of each try.
    area = rows * columns * _interpolate(share, area_numbers)
    aspect = np.exp(_interpolate(np.log(ratio), ratio_numbers))
    width = np.rint(np.sqrt(area * aspect))
    height = np.rint(np.sqrt(area / aspect))

    # 2. The first try that fits.
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    first = fits.argmax(-1)[..., None]
    sides = [np.take_along_axis(side, first, -1) for side in (height, width)]
    size = np.concatenate(sides, -1)

    # 3. Its place.
    corner = np.floor(place * np.maximum(shape - size + 1, 0))
    boxes = np.concatenate([corner, size], -1).astype(np.int64)
    return boxes, fits.any(-1)


def _interpolate(ends: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Numbers between two ends [..., 2], from random ones of [0, 1) [..., N]."""
    low, high = ends[..., :1], ends[..., 1:]
    return low + (high - low) * uniform
