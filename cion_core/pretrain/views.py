"""What a view of a crop is: multi-crop for self-distillation (docs/architecture.md), LUP's, and a
weak one.

A view is first drawn (`draw`), then made of a crop: by `operations` on OpenCV and NumPy, one at a
time, or by `batched` on a device, all at once. Every draw comes from the generator that is passed
in, so a view is a function of (crop, seed, step, slot) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cion_core.pretrain.settings import Views
from cion_core.training import boxes
from cion_core.training.boxes import Box

PUBLISHED_HEIGHT = 256  # of a global view, in pixels; the blur below is in pixels of that size
SIGMA = (0.1, 2.0)
JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
RATIO = (0.4, 0.6)  # width / height
PAD = 10  # pixels of a view of PUBLISHED_HEIGHT
ERASE_AREA, ERASE_RATIO = np.array((0.02, 0.6)), np.array((0.3, 3.3))


@dataclass(frozen=True)
class ViewRecipe:
    """One view: its size in pixels, the share of the crop that it shows, and the probability of
    each operation.
    """

    size: tuple[int, int]  # height, width
    scale: tuple[float, float]
    blur: float
    sigma: tuple[float, float]
    jitter: float = 0.0
    grey: float = 0.2
    solarise: float = 0.0
    erase: float = 0.0
    ratio: tuple[float, float] = RATIO  # from which to which width / height
    # not 0: the whole crop is shown, shifted by up to so many pixels each way, black beside it
    pad: int = 0


def multi_crop(
    image: tuple[int, int], local: tuple[int, int], local_views: int, strength: Views
) -> list[ViewRecipe]:
    """DINO's asymmetric views with CION's ranges: two global ones, then `local_views` local
    ones.
    """
    first, second, rest = strength.blur
    common = {"sigma": _sigma(image), "jitter": strength.jitter, "grey": strength.grey}
    return [
        ViewRecipe(image, (0.8, 1.0), blur=first, **common),
        ViewRecipe(image, (0.8, 1.0), blur=second, solarise=strength.solarise, **common),
        *[ViewRecipe(local, strength.local_scale, blur=rest, **common)] * local_views,
    ]


def lup(image: tuple[int, int], ratio: tuple[float, float]) -> list[ViewRecipe]:
    """LUP's two views (Fu et al., CVPR 2021): colours tell people apart, so erasing replaces
    jitter.

    Args:
        image: (height, width) of a view.
        ratio: from which to which width / height of what a view shows; 3/4 to 4/3 is published.
    """
    return [
        ViewRecipe(image, (0.2, 1.0), blur=0.5, sigma=_sigma(image), erase=0.5, ratio=ratio)
    ] * 2


def weak(image: tuple[int, int]) -> ViewRecipe:
    """A view as supervised re-identification has them: padded, cut elsewhere, and flipped, with its
    colours left alone.

    image: (height, width) of it; 10 pixels of padding are published for PUBLISHED_HEIGHT, others in
    proportion.
    """
    pad = max(1, round(PAD * image[0] / PUBLISHED_HEIGHT))
    return ViewRecipe(image, (1.0, 1.0), blur=0.0, sigma=_sigma(image), grey=0.0, pad=pad)


def _sigma(image: tuple[int, int]) -> tuple[float, float]:
    scale = image[0] / PUBLISHED_HEIGHT
    return SIGMA[0] * scale, SIGMA[1] * scale


@dataclass(frozen=True)
class Drawn:
    """One view of one crop: which part of it, and what is done to that, in this order, at the
    view's size.

    jitter: the operations in their order, as (number in JITTER, amount): factors, and for hue a
    part of a whole turn. sigma: of the blur, in pixels of the view; 0: none. erase: the box that is
    covered, in the view; None: none. shift: how far the view lies below and to the right of where
    it would show all of the box, in pixels.
    """

    box: Box
    flip: bool
    jitter: tuple[tuple[int, float], ...]
    grey: bool
    sigma: float
    solarise: bool
    erase: Box | None
    shift: tuple[int, int]


@dataclass(frozen=True)
class Draws:
    """The views of B crops that were drawn by V recipes, as arrays whose first axes are [B, V].

    Attributes:
        box: int64 [B, V, 4], the part of the crop that is shown: top, left, height, width.
        order: int64 [B, V, 4], the numbers in JITTER in their order; all -1 where colours are left
            alone.
        amount: float64 [B, V, 4], of the operation at each place of that order.
        sigma: float64 [B, V], of the blur in pixels; 0: none.
        erase: int64 [B, V, 4], the box that is covered; all 0 where nothing is.
        shift: int64 [B, V, 2], pixels down and to the right; 0 where nothing is shifted.
        flip, grey, solarise: bool [B, V].
    """

    box: np.ndarray
    flip: np.ndarray
    order: np.ndarray
    amount: np.ndarray
    grey: np.ndarray
    sigma: np.ndarray
    solarise: np.ndarray
    erase: np.ndarray
    shift: np.ndarray

    def singles(self) -> list[list[Drawn]]:
        """Each view by itself: V of each of B crops."""
        columns = zip(*(value.tolist() for value in vars(self).values()), strict=True)
        return [[_single(*view) for view in zip(*crop, strict=True)] for crop in columns]


def _single(
    box: list,
    flip: bool,
    order: list,
    amount: list,
    grey: bool,
    sigma: float,
    solarise: bool,
    erase: list,
    shift: list,
) -> Drawn:
    jitter = tuple(zip(order, amount, strict=True)) if order[0] >= 0 else ()
    return Drawn(
        tuple(box),
        flip,
        jitter,
        grey,
        sigma,
        solarise,
        tuple(erase) if erase[2] else None,
        tuple(shift),
    )


CHOICES = 6  # whether to flip, jitter, make grey, blur, solarise, erase
# Where the random numbers of one view stand in a row of them, one part after another.
_PARTS = np.cumsum([boxes.UNIFORMS, boxes.UNIFORMS, CHOICES, len(JITTER), len(JITTER), 1])
UNIFORMS = int(_PARTS[-1])


def draw(
    shapes: Sequence[tuple[int, int]],
    recipes: Sequence[ViewRecipe],
    generators: Sequence[np.random.Generator],
) -> Draws:
    """Random views by V recipes of B crops, all at once.

    Args:
        shapes: (height, width) of each crop.
        recipes: of the views.
        generators: of each crop, which gives all random numbers of its views: so they depend on
            nothing else.
    """
    uniform = np.stack([generator.random((len(recipes), UNIFORMS)) for generator in generators])
    place, cover, choice, amount, order, blur = np.split(uniform, _PARTS[:-1], -1)
    shape = np.array(shapes)[:, None]
    chances = [(0.5, r.jitter, r.grey, r.blur, r.solarise, r.erase) for r in recipes]
    flip, jitter, grey, blurs, solarise, erase = np.moveaxis(choice < np.array(chances), -1, 0)

    # The jitter: each operation by its own amount, in a random order.
    amounts = np.array([1, 1, 1, 0]) + np.array(JITTER) * (2 * amount - 1)
    turns = order.argsort(-1)

    sigmas = np.array([recipe.sigma for recipe in recipes])
    sigma = sigmas[:, 0] + (sigmas[:, 1] - sigmas[:, 0]) * blur[..., 0]
    covered, fits = boxes.fitting(
        np.array([r.size for r in recipes]), ERASE_AREA, ERASE_RATIO, cover
    )
    # A view that is shifted shows the whole crop, so the numbers that place a box are free for
    # that.
    pad = np.array([recipe.pad for recipe in recipes])[:, None]
    shift = np.floor(place[..., -2:] * (2 * pad + 1)).astype(np.int64) - pad
    return Draws(
        box=shown(shape, recipes, place),
        flip=flip,
        order=np.where(jitter[..., None], turns, -1),
        amount=np.take_along_axis(amounts, turns, -1),
        grey=grey,
        sigma=np.where(blurs, sigma, 0.0),
        solarise=solarise,
        erase=np.where((erase & fits)[..., None], covered, 0),
        shift=shift,
    )


def shown(shape: np.ndarray, recipes: Sequence[ViewRecipe], uniform: np.ndarray) -> np.ndarray:
    """The parts of crops that views show: a share in the recipe's `scale`, width / height in its
    `ratio`.

    Where none fits: the largest centred one of such a ratio. A recipe with padding shows all of the
    crop.

    Args:
        shape: int [B, 1, 2], (height, width) of each crop.
        recipes: of V views.
        uniform: float [B, V, boxes.UNIFORMS], random numbers of [0, 1).

    Returns:
        int64 [B, V, 4]: top, left, height, width.
    """
    ratio = np.array([recipe.ratio for recipe in recipes])
    box, fits = boxes.fitting(shape, np.array([recipe.scale for recipe in recipes]), ratio, uniform)
    rows, columns = np.moveaxis(shape, -1, 0)
    aspect = np.clip(columns / rows, ratio[:, 0], ratio[:, 1])
    height = np.minimum(rows, np.rint(columns / aspect)).astype(np.int64)
    width = np.minimum(columns, np.rint(rows * aspect)).astype(np.int64)
    centred = np.stack([(rows - height) // 2, (columns - width) // 2, height, width], -1)
    parts = np.where(fits[..., None], box, centred)
    whole = np.stack([np.zeros_like(rows), np.zeros_like(rows), rows, columns], -1)
    padded = np.array([recipe.pad > 0 for recipe in recipes])
    return np.where(padded[:, None], whole, parts)
