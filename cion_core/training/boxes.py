"""Random rectangles in images: what random crops show, and what random erasing covers (Zhong et al.
2020).
"""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]  # top, left, height, width
Span = tuple[float, float]
TRIES = 10  # to fit a random rectangle into the image, as torchvision
UNIFORMS = (
    2 * TRIES + 2
)  # random numbers that `fitting` takes for one rectangle: areas, ratios, and the place


def placed(shape: tuple[int, int], height: int, width: int, rng: np.random.Generator) -> Box:
    """A rectangle of these sides, which fit, anywhere in an image of `shape` (height, width)."""
    return (
        int(rng.integers(shape[0] - height + 1)),
        int(rng.integers(shape[1] - width + 1)),
        height,
        width,
    )


def fitting(
    shape: np.ndarray, share: np.ndarray, ratio: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Random rectangles that fit into images, one in each.

    An area is a uniform share of its image's; width / height is log-uniform. TRIES are drawn, and
    the first is taken that fits.

    Args:
        shape: int [..., 2], height and width of each image.
        share: float [..., 2], from which to which share of the image.
        ratio: float [..., 2], from which to which width / height.
        uniform: float [..., UNIFORMS], random numbers of [0, 1).

    Returns:
        (boxes int64 [..., 4], whether one of the tries fitted bool [...]); a box that does not fit
        means nothing.
    """
    rows, columns = np.moveaxis(shape[..., None, :], -1, 0)
    areas, aspects, place = (
        uniform[..., :TRIES],
        uniform[..., TRIES : 2 * TRIES],
        uniform[..., 2 * TRIES :],
    )
    area = rows * columns * _between(share, areas)
    aspect = np.exp(_between(np.log(ratio), aspects))
    width, height = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    first = fits.argmax(-1)[..., None]
    size = np.concatenate([np.take_along_axis(side, first, -1) for side in (height, width)], -1)
    corner = np.floor(place * np.maximum(shape - size + 1, 0))
    return np.concatenate([corner, size], -1).astype(np.int64), fits.any(-1)


def _between(ends: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Numbers between two ends [..., 2], from random ones of [0, 1) [..., N]."""
    return ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * uniform
