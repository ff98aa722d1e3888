"""Views of a crop: multi-crop for self-distillation (DESIGN §5), and LUP's, on OpenCV and NumPy.

Images are RGB uint8 [H, W, 3]. Every draw comes from the generator that is passed in, in the same order whatever
the image, so a view is a function of (crop, seed, step, slot) alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cion_core.images import resize
from cion_core.params import Views

PUBLISHED_HEIGHT = 256  # of a global view, in pixels; the blur below is in pixels of that size
SIGMA = (0.1, 2.0)
JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
RATIO = (0.4, 0.6)  # width / height
ERASE_AREA, ERASE_RATIO = (0.02, 0.6), (0.3, 3.3)
FILL = (124, 116, 104)  # ImageNet's mean colour, which is 0 once normalised
TRIES = 10  # to fit a random rectangle into the image, as torchvision


@dataclass(frozen=True)
class Recipe:
    """One view: its size in pixels, the share of the crop that it shows, and the probability of each operation."""

    size: tuple[int, int]  # height, width
    scale: tuple[float, float]
    blur: float
    sigma: tuple[float, float]
    jitter: float = 0.0
    grey: float = 0.2
    solarise: float = 0.0
    erase: float = 0.0


def multi_crop(image: tuple[int, int], local: tuple[int, int], local_views: int, strength: Views) -> list[Recipe]:
    """DINO's asymmetric views with CION's ranges: two global ones, then `local_views` local ones."""
    first, second, rest = strength.blur
    common = {"sigma": _sigma(image), "jitter": strength.jitter, "grey": strength.grey}
    return [
        Recipe(image, (0.8, 1.0), blur=first, **common),
        Recipe(image, (0.8, 1.0), blur=second, solarise=strength.solarise, **common),
        *[Recipe(local, strength.local_scale, blur=rest, **common)] * local_views,
    ]


def lup(image: tuple[int, int]) -> list[Recipe]:
    """LUP's two views (Fu et al., CVPR 2021): colours tell people apart, so erasing replaces jitter."""
    return [Recipe(image, (0.2, 1.0), blur=0.5, sigma=_sigma(image), erase=0.5)] * 2


def _sigma(image: tuple[int, int]) -> tuple[float, float]:
    scale = image[0] / PUBLISHED_HEIGHT
    return SIGMA[0] * scale, SIGMA[1] * scale


def view(image: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """One random view of `image`, of `recipe`'s size."""
    top, left, height, width = crop_box(image.shape[:2], recipe.scale, RATIO, rng)
    image = resize(image[top : top + height, left : left + width], recipe.size)
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    if rng.random() < recipe.jitter:
        image = colour_jitter(image, rng)
    if rng.random() < recipe.grey:
        image = grey(image)
    if rng.random() < recipe.blur:
        image = blur(image, rng.uniform(*recipe.sigma))
    if rng.random() < recipe.solarise:
        image = solarise(image)
    if rng.random() < recipe.erase:
        image = erase(image, rng)
    return image


def crop_box(
    shape: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
    whole: bool = True,
) -> tuple[int, int, int, int] | None:
    """A random rectangle (top, left, height, width) in an image of `shape` (height, width).

    Its area is a uniform share in `scale` of the image's, width / height log-uniform in `ratio`. Where none fits:
    the largest centred one within `ratio`, or None unless `whole`.
    """
    rows, columns = shape
    for _ in range(TRIES):
        area = rows * columns * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        width, height = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < width <= columns and 0 < height <= rows:
            return int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1)), height, width
    if not whole:
        return None
    aspect = np.clip(columns / rows, *ratio)
    height, width = min(rows, round(columns / aspect)), min(columns, round(rows * aspect))
    return (rows - height) // 2, (columns - width) // 2, height, width


def colour_jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue, each by its own random amount, in random order."""
    amounts = 1 + np.array(JITTER) * rng.uniform(-1, 1, 4)
    amounts[3] -= 1
    for i in rng.permutation(4):
        image = (brightness, contrast, saturation, hue)[i](image, float(amounts[i]))
    return image


_VALUES = np.arange(256, dtype=np.float32)


def _map(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    return cv2.LUT(image, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Every value times `factor`."""
    return _map(image, _VALUES * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from (or towards) the mean grey of the image by `factor`."""
    mean = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()
    return _map(image, mean + (_VALUES - mean) * factor)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from (or towards) each pixel's grey by `factor`."""
    return cv2.addWeighted(image, factor, grey(image), 1 - factor, 0)


def hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the colour circle by `turn` of a whole turn; in float, since 8 bits hold too few hues."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def grey(image: np.ndarray) -> np.ndarray:
    """Luma (ITU-R 601) in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels."""
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)


_SOLARISED = np.where(_VALUES < 128, _VALUES, 255 - _VALUES)


def solarise(image: np.ndarray) -> np.ndarray:
    """Invert the values from 128 on."""
    return _map(image, _SOLARISED)


def erase(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill a random rectangle with the mean colour (Zhong et al. 2020); nothing where none fits."""
    box = crop_box(image.shape[:2], ERASE_AREA, ERASE_RATIO, rng, whole=False)
    if box is None:
        return image
    top, left, height, width = box
    image = image.copy()
    image[top : top + height, left : left + width] = FILL
    return image
