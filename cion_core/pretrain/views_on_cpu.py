"""Views of a crop on OpenCV and NumPy. Images are RGB uint8 [H, W, 3]."""

from __future__ import annotations

import cv2
import numpy as np

from cion_core.images import resize
from cion_core.pretrain.views import ViewKind, ViewParameters
from cion_core.training.boxes import Box

FILL = (124, 116, 104)  # ImageNet's mean colour, which is 0 once normalised


def shrink_to_fit(image: np.ndarray, largest: tuple[int, int]) -> np.ndarray:
    """The image, made smaller in its own proportions where it is larger than `largest`.

    Args:
        image: RGB uint8 [H, W, 3].
        largest: (height, width) that it must fit into.
    """
    height, width = image.shape[:2]
    scale = min(largest[0] / height, largest[1] / width)
    if scale >= 1:
        return image
    smaller_height = max(1, int(height * scale))
    smaller_width = max(1, int(width * scale))
    return resize(image, (smaller_height, smaller_width))


def make_view(image: np.ndarray, kind: ViewKind, drawn: ViewParameters) -> np.ndarray:
    """The view of an image that was drawn.

    Args:
        image: RGB uint8 [H, W, 3].
        kind: of the view, which says its size.
        drawn: its parameters.

    Returns:
        RGB uint8 [height, width, 3].
    """
    top, left, height, width = drawn.box
    image = resize(image[top : top + height, left : left + width], kind.size)
    if any(drawn.shift):
        image = shift_image(image, drawn.shift)
    if drawn.flip:
        image = cv2.flip(image, 1)
    for number, amount in drawn.jitter:
        adjust = JITTER_OPERATIONS[number]
        image = adjust(image, amount)
    if drawn.grey:
        image = grey(image)
    if drawn.sigma:
        image = blur(image, drawn.sigma)
    if drawn.solarise:
        image = solarise(image)
    if drawn.erase:
        image = erase(image, drawn.erase)
    return image


def shift_image(image: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """What lies so many pixels further down and to the right, at the image's size.

    Black where the image ends: of a row 1 2 3, a shift of 1 to the right shows 2 3 0.
    """
    height, width = image.shape[:2]
    reach = max(map(abs, shift))
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    top, left = (reach + pixels for pixels in shift)
    return padded[top : top + height, left : left + width]


_VALUES = np.arange(256, dtype=np.float32)


def _map_values(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each value v of the image replaced by values[v], rounded: uint8."""
    return cv2.LUT(image, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Every value times `factor`."""
    return _map_values(image, _VALUES * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from (or towards) the mean grey of the image by `factor`."""
    mean = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()
    return _map_values(image, mean + (_VALUES - mean) * factor)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from (or towards) each pixel's grey by `factor`."""
    return cv2.addWeighted(image, factor, grey(image), 1 - factor, 0)


def hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the colour circle by `turn` of a whole turn.

    It is done in float, since 8 bits hold too few hues.
    """
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] += 360 * (turn % 1)  # OpenCV takes hues of two turns, but none below 0
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return cv2.convertScaleAbs(turned)


JITTER_OPERATIONS = (brightness, contrast, saturation, hue)  # in the order of views.JITTER


def grey(image: np.ndarray) -> np.ndarray:
    """Luma (ITU-R 601) in all three channels."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels."""
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)


_SOLARISED = np.where(_VALUES < 128, _VALUES, 255 - _VALUES)


def solarise(image: np.ndarray) -> np.ndarray:
    """Invert the values from 128 on."""
    return _map_values(image, _SOLARISED)


def erase(image: np.ndarray, box: Box) -> np.ndarray:
    """Cover a rectangle with the mean colour (Zhong et al. 2020)."""
    top, left, height, width = box
    image = image.copy()
    image[top : top + height, left : left + width] = FILL
    return image
