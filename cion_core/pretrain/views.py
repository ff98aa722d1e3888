"""What a view of a crop is: multi-crop for self-distillation (docs/architecture.md), and LUP's.

A view is first drawn (`draw`), then made of a crop: by `operations` on OpenCV and NumPy, one at a time, or by `batched`
on a device, all at once. Every draw comes from the generator that is passed in, so a view is a function of (crop, seed,
step, slot) alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cion_core.pretrain.settings import Views
from cion_core.training.boxes import Box, fitting

PUBLISHED_HEIGHT = 256  # of a global view, in pixels; the blur below is in pixels of that size
SIGMA = (0.1, 2.0)
JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
RATIO = (0.4, 0.6)  # width / height
ERASE_AREA, ERASE_RATIO = (0.02, 0.6), (0.3, 3.3)


@dataclass(frozen=True)
class ViewRecipe:
    """One view: its size in pixels, the share of the crop that it shows, and the probability of each operation."""

    size: tuple[int, int]  # height, width
    scale: tuple[float, float]
    blur: float
    sigma: tuple[float, float]
    jitter: float = 0.0
    grey: float = 0.2
    solarise: float = 0.0
    erase: float = 0.0


def multi_crop(image: tuple[int, int], local: tuple[int, int], local_views: int, strength: Views) -> list[ViewRecipe]:
    """DINO's asymmetric views with CION's ranges: two global ones, then `local_views` local ones."""
    first, second, rest = strength.blur
    common = {"sigma": _sigma(image), "jitter": strength.jitter, "grey": strength.grey}
    return [
        ViewRecipe(image, (0.8, 1.0), blur=first, **common),
        ViewRecipe(image, (0.8, 1.0), blur=second, solarise=strength.solarise, **common),
        *[ViewRecipe(local, strength.local_scale, blur=rest, **common)] * local_views,
    ]


def lup(image: tuple[int, int]) -> list[ViewRecipe]:
    """LUP's two views (Fu et al., CVPR 2021): colours tell people apart, so erasing replaces jitter."""
    return [ViewRecipe(image, (0.2, 1.0), blur=0.5, sigma=_sigma(image), erase=0.5)] * 2


def _sigma(image: tuple[int, int]) -> tuple[float, float]:
    scale = image[0] / PUBLISHED_HEIGHT
    return SIGMA[0] * scale, SIGMA[1] * scale


@dataclass(frozen=True)
class Drawn:
    """One view of one crop: which part of it, and what is done to that, in this order, at the view's size.

    jitter: the operations in their order, as (number in JITTER, amount): factors, and for hue a part of a whole turn.
    sigma: of the blur, in pixels of the view; 0: none. erase: the box that is covered, in the view; None: none.
    """

    box: Box
    flip: bool
    jitter: tuple[tuple[int, float], ...]
    grey: bool
    sigma: float
    solarise: bool
    erase: Box | None


def draw(shape: tuple[int, int], recipe: ViewRecipe, rng: np.random.Generator) -> Drawn:
    """A random view of a crop of `shape` (height, width)."""
    box = shown(shape, recipe.scale, rng)
    flip, jitter, grey, blur, solarise, erase = rng.random(6) < (
        0.5, recipe.jitter, recipe.grey, recipe.blur, recipe.solarise, recipe.erase
    )  # fmt: skip
    amounts = np.array([1, 1, 1, 0]) + np.array(JITTER) * rng.uniform(-1, 1, 4)
    order = tuple((i, float(amounts[i])) for i in rng.permutation(4).tolist()) if jitter else ()
    sigma = rng.uniform(*recipe.sigma) if blur else 0.0
    covered = fitting(recipe.size, ERASE_AREA, ERASE_RATIO, rng) if erase else None
    return Drawn(box, bool(flip), order, bool(grey), sigma, bool(solarise), covered)


def shown(shape: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator) -> Box:
    """The part of a crop of `shape` (height, width) that a view shows: a share in `scale`, width / height in RATIO.

    Where none fits: the largest centred one of such a ratio.
    """
    if (box := fitting(shape, scale, RATIO, rng)) is not None:
        return box
    rows, columns = shape
    aspect = np.clip(columns / rows, *RATIO)
    height, width = min(rows, round(columns / aspect)), min(columns, round(rows * aspect))
    return (rows - height) // 2, (columns - width) // 2, height, width
