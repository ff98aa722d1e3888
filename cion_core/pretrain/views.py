"""What a view of a crop is: its kind, and the parameters that are drawn for it.

There are kinds for multi-crop self-distillation (docs/architecture.md), for LUP, and for weak
views. Parameters are drawn first (`draw_parameters`). Then the view is made from the crop: one at a
time on OpenCV and NumPy (`views_on_cpu`), or all at once on a device (`views_on_device`). Every
random number comes from the generator that is passed in, so a view depends on the crop, the seed,
the step and the crop's place in the batch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cion_core.pretrain.settings import Views
from cion_core.training import boxes
from cion_core.training.boxes import Box

PUBLISHED_HEIGHT = 256  # of a global view, in pixels; SIGMA and PAD are in pixels of that size
SIGMA = (0.1, 2.0)  # of the blur
JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
RATIO = (0.4, 0.6)  # width / height
FLIPPED = 0.5  # the share of views that are mirrored
PAD = 10  # of a weak view
# The box that is erased: its share of the view's area, and its width / height.
ERASE_AREA = np.array((0.02, 0.6))
ERASE_RATIO = np.array((0.3, 3.3))


@dataclass(frozen=True)
class ViewKind:
    """How one kind of view is drawn.

    Attributes:
        size: (height, width) in pixels.
        scale: the least and the largest share of the crop's area that it shows.
        blur, jitter, grey, solarise, erase: the probability of each operation.
        sigma: the least and the largest of the blur, in pixels of the view.
        ratio: the least and the largest width / height of what it shows.
        pad: not 0: the whole crop is shown, shifted by up to so many pixels each way, black beside
            it.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    blur: float
    sigma: tuple[float, float]
    jitter: float = 0.0
    grey: float = 0.2
    solarise: float = 0.0
    erase: float = 0.0
    ratio: tuple[float, float] = RATIO
    pad: int = 0


def multi_crop(
    image: tuple[int, int], local: tuple[int, int], local_views: int, strength: Views
) -> list[ViewKind]:
    """DINO's asymmetric views with CION's ranges: two global ones, then the local ones.

    Args:
        image: (height, width) of a global view.
        local: (height, width) of a local view.
        local_views: how many there are.
        strength: probabilities of the operations, and the share that a local view shows.

    Returns:
        The kinds of 2 + local_views views.
    """
    first_blur, second_blur, local_blur = strength.blur
    common = {"sigma": _sigma(image), "jitter": strength.jitter, "grey": strength.grey}
    return [
        ViewKind(image, (0.8, 1.0), blur=first_blur, **common),
        ViewKind(image, (0.8, 1.0), blur=second_blur, solarise=strength.solarise, **common),
        *[ViewKind(local, strength.local_scale, blur=local_blur, **common)] * local_views,
    ]


def lup(image: tuple[int, int], ratio: tuple[float, float]) -> list[ViewKind]:
    """LUP's two views (Fu et al., CVPR 2021): erasing in place of jitter.

    People are recognised by their colours, which jitter would change.

    Args:
        image: (height, width) of a view.
        ratio: the least and the largest width / height of what a view shows; 3/4 to 4/3 is
            published.

    Returns:
        The kinds of the query's and the key's view, which are alike.
    """
    kind = ViewKind(image, (0.2, 1.0), blur=0.5, sigma=_sigma(image), erase=0.5, ratio=ratio)
    return [kind, kind]


def weak(image: tuple[int, int]) -> ViewKind:
    """A view of supervised re-identification: padded, shifted and flipped, colours left alone.

    Args:
        image: (height, width) of a view. 10 pixels of padding are published for PUBLISHED_HEIGHT;
            at other heights they are in proportion.
    """
    pad = max(1, round(PAD * image[0] / PUBLISHED_HEIGHT))
    return ViewKind(image, (1.0, 1.0), blur=0.0, sigma=_sigma(image), grey=0.0, pad=pad)


def _sigma(image: tuple[int, int]) -> tuple[float, float]:
    scale = image[0] / PUBLISHED_HEIGHT
    return SIGMA[0] * scale, SIGMA[1] * scale


@dataclass(frozen=True)
class ViewParameters:
    """One view of one crop: which part it shows, and what is done to that part, in this order.

    Attributes:
        box: the part of the crop that is shown.
        flip: whether it is mirrored.
        jitter: the operations in their order, each as (number in JITTER, amount). Amounts are
            factors, and for hue a part of a whole turn.
        grey: whether it is made grey.
        sigma: of the blur, in pixels of the view; 0: none.
        solarise: whether bright values are inverted.
        erase: the box of the view that is covered; None: none.
        shift: pixels down and to the right that the view lies from where it would show all of the
            box.
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
class BatchViewParameters:
    """The views of B crops by V kinds, as arrays whose first axes are [B, V].

    Attributes:
        box: int64 [B, V, 4], the part of the crop that is shown: top, left, height, width.
        flip, grey, solarise: bool [B, V].
        order: int64 [B, V, 4], the numbers in JITTER in their order; all -1 where colours are left
            alone.
        amount: float64 [B, V, 4], of the operation at each place of that order.
        sigma: float64 [B, V], of the blur in pixels; 0: none.
        erase: int64 [B, V, 4], the box that is covered; all 0 where nothing is.
        shift: int64 [B, V, 2], pixels down and to the right; 0 where nothing is shifted.
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

    def per_view(self) -> list[list[ViewParameters]]:
        """Each view by itself: B lists of V views."""
        columns = [array.tolist() for array in vars(self).values()]
        by_crop = zip(*columns, strict=True)
        return [[_one_view(*view) for view in zip(*crop, strict=True)] for crop in by_crop]


def _one_view(
    box: list,
    flip: bool,
    order: list,
    amount: list,
    grey: bool,
    sigma: float,
    solarise: bool,
    erase: list,
    shift: list,
) -> ViewParameters:
    jitter = tuple(zip(order, amount, strict=True)) if order[0] >= 0 else ()
    covered = tuple(erase) if erase[2] else None
    return ViewParameters(tuple(box), flip, jitter, grey, sigma, solarise, covered, tuple(shift))


CHOICES = 6  # whether to flip, jitter, make grey, blur, solarise, erase
# How many random numbers each part of a view takes: the place of its box, the place of the box that
# is erased, its choices, the amounts of a jitter, their order, and the blur. They stand in a row.
_COUNTS = (boxes.UNIFORMS, boxes.UNIFORMS, CHOICES, len(JITTER), len(JITTER), 1)
_ENDS = np.cumsum(_COUNTS)
UNIFORMS = int(_ENDS[-1])


def draw_parameters(
    shapes: Sequence[tuple[int, int]],
    kinds: Sequence[ViewKind],
    generators: Sequence[np.random.Generator],
) -> BatchViewParameters:
    """Random views by V kinds of B crops, all at once.

    Args:
        shapes: (height, width) of each crop.
        kinds: of the views.
        generators: one for each crop, which gives all random numbers of its views. So they depend
            on nothing else.
    """
    uniform = np.stack([generator.random((len(kinds), UNIFORMS)) for generator in generators])
    place, cover, choice, amount, order, blur = np.split(uniform, _ENDS[:-1], -1)
    shape = np.array(shapes)[:, None]

    # Which operations a view has.
    chances = [
        (FLIPPED, kind.jitter, kind.grey, kind.blur, kind.solarise, kind.erase) for kind in kinds
    ]
    chosen = choice < np.array(chances)
    is_flipped, is_jittered, is_grey, is_blurred, is_solarised, is_erased = np.moveaxis(
        chosen, -1, 0
    )

    # The jitter: each operation by its own amount, in a random order. Factors lie around 1, and
    # turns of the hue around 0.
    middles = np.array([1, 1, 1, 0])
    amounts = middles + np.array(JITTER) * (2 * amount - 1)
    jitter_order = order.argsort(-1)
    ordered_amounts = np.take_along_axis(amounts, jitter_order, -1)

    # The blur.
    least, largest = np.array([kind.sigma for kind in kinds]).T
    sigma = least + (largest - least) * blur[..., 0]

    # The box that is erased.
    sizes = np.array([kind.size for kind in kinds])
    covered, fits = boxes.fit_boxes(sizes, ERASE_AREA, ERASE_RATIO, cover)
    is_erased = is_erased & fits

    # The shift. A view that is shifted shows the whole crop, so the numbers that would place its
    # box are free for it.
    pad = np.array([kind.pad for kind in kinds])[:, None]
    shifts = 2 * pad + 1  # each way by up to `pad`, and none
    drawn_shift = np.floor(place[..., -2:] * shifts).astype(np.int64)
    return BatchViewParameters(
        box=place_boxes(shape, kinds, place),
        flip=is_flipped,
        order=np.where(is_jittered[..., None], jitter_order, -1),
        amount=ordered_amounts,
        grey=is_grey,
        sigma=np.where(is_blurred, sigma, 0.0),
        solarise=is_solarised,
        erase=np.where(is_erased[..., None], covered, 0),
        shift=drawn_shift - pad,
    )


def place_boxes(shape: np.ndarray, kinds: Sequence[ViewKind], uniform: np.ndarray) -> np.ndarray:
    """The parts of crops that views show.

    Each is a share of the crop in the kind's `scale`, with width / height in its `ratio`. Where
    none fits, it is the largest centred one of such a ratio. A kind with padding shows all of the
    crop.

    Args:
        shape: int [B, 1, 2], (height, width) of each crop.
        kinds: of V views.
        uniform: float [B, V, boxes.UNIFORMS], random numbers of [0, 1).

    Returns:
        int64 [B, V, 4]: top, left, height, width.
    """
    ratio = np.array([kind.ratio for kind in kinds])
    scale = np.array([kind.scale for kind in kinds])
    drawn, fits = boxes.fit_boxes(shape, scale, ratio, uniform)

    # The largest centred box: as near to the crop's own width / height as the ratio allows.
    rows, columns = np.moveaxis(shape, -1, 0)
    aspect = np.clip(columns / rows, ratio[:, 0], ratio[:, 1])
    height = np.minimum(rows, np.rint(columns / aspect)).astype(np.int64)
    width = np.minimum(columns, np.rint(rows * aspect)).astype(np.int64)
    top = (rows - height) // 2
    left = (columns - width) // 2
    centred = np.stack([top, left, height, width], -1)

    whole = np.stack([np.zeros_like(rows), np.zeros_like(rows), rows, columns], -1)
    is_padded = np.array([kind.pad > 0 for kind in kinds])
    part = np.where(fits[..., None], drawn, centred)
    return np.where(is_padded[:, None], whole, part)
