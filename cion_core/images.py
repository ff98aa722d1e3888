"""Image files and sizes, as RGB uint8 arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cion_core.errors import CionError

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_image(path: Path | str) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3], greyscale as three equal channels; CionError where it is not one."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise CionError(f"{path}: not a readable image; replace or remove it")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, size: tuple[int, int], how: str = "") -> np.ndarray:
    """`image` [H, W, 3] at `size` (height, width).

    how: "bilinear" or "bicubic", as Pillow and so the published recipes do it (which averages where it shrinks);
    empty: over areas where both sides shrink, else bilinear, which is five times as fast.
    """
    if how:
        return np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[how]))
    shrink = image.shape[0] > size[0] and image.shape[1] > size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
