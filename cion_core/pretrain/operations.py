"""Views of a crop on OpenCV and NumPy. Images are RGB uint8 [H, W, 3]."""

from __future__ import annotations

import cv2
import numpy as np

from cion_core.images import resize
from cion_core.pretrain.views import Drawn, ViewRecipe
from cion_core.training.boxes import Box

FILL = (124, 116, 104)  # ImageNet's mean colour, which is 0 once normalised


def bounded(image: np.ndarray, most: tuple[int, int]) -> np.ndarray:
    """`image`, made smaller in its own proportions where it does not fit into `most` (height,
    width).
    """
    height, width = image.shape[:2]
    scale = min(most[0] / height, most[1] / width)
    if scale >= 1:
        return image
    return resize(image, (max(1, int(height * scale)), max(1, int(width * scale))))


def view(image: np.ndarray, recipe: ViewRecipe, drawn: Drawn) -> np.ndarray:
    """The view of `image` that was drawn, of `recipe`'s size."""
    top, left, height, width = drawn.box
    image = resize(image[top : top + height, left : left + width], recipe.size)
    if any(drawn.shift):
        image = shifted(image, drawn.shift)
    if drawn.flip:
        image = cv2.flip(image, 1)
    for number, amount in drawn.jitter:
        image = (brightness, contrast, saturation, hue)[number](image, amount)
    if drawn.grey:
        image = grey(image)
    if drawn.sigma:
        image = blur(image, drawn.sigma)
    if drawn.solarise:
        image = solarise(image)
    if drawn.erase:
        image = erase(image, drawn.erase)
    return image


def shifted(image: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """What lies so many pixels further down and to the right of `image`, at its size; black where
    it ends.

    Of one row with the values 1 2 3, a shift of 1 to the right shows 2 3 0.
    """
    height, width = image.shape[:2]
    reach = max(map(abs, shift))
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    top, left = (reach + by for by in shift)
    return padded[top : top + height, left : left + width]


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
    """Turn the colour circle by `turn` of a whole turn; in float, since 8 bits hold too few
    hues.
    """
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] += 360 * (turn % 1)  # OpenCV takes hues of two turns, but none below 0
    return cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


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


def erase(image: np.ndarray, box: Box) -> np.ndarray:
    """Cover a rectangle with the mean colour (Zhong et al. 2020)."""
    top, left, height, width = box
    image = image.copy()
    image[top : top + height, left : left + width] = FILL
    return image
