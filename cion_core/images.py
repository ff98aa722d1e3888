"""Image files and sizes, as RGB uint8 arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cion_core.errors import CionError


def read_image(path: Path | str) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3], whatever it holds: greyscale becomes three equal channels, CMYK and
    palettes RGB, 16 bits 8; transparency is left out, and the picture turned as its EXIF orientation says.

    Raises:
        CionError: it is no whole image, names the file.
    """
    return decode(contents(path), path)


def contents(path: Path | str) -> bytes:
    """The bytes of an image file; CionError where there is no file, or nothing in it."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error.strerror.lower()) from None
    if not data:
        raise _unreadable(path, "it is empty")
    return data


def decode(data: bytes, path: Path | str) -> np.ndarray:
    """`contents` as `read_image` gives them; CionError names `path`.

    From memory, for of a JPEG file that is cut off OpenCV reads what is there, and makes the rest grey.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise _unreadable(path, "it is broken, cut off, or no image")
    return image


def _unreadable(path: Path | str, why: str) -> CionError:
    return CionError(f"{path}: not a readable image ({why}); replace or remove it")


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` [H, W, 3] at `size` (height, width). Shrinking both sides averages over areas; else bilinear."""
    shrink = image.shape[0] > size[0] and image.shape[1] > size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
