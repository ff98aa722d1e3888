"""Image files and sizes, as RGB uint8 arrays."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from cion_core.errors import CionError

JPEG, JPEG_END = b"\xff\xd8", b"\xff\xd9"  # how such a file begins and ends
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_image(path: Path | str, digest: str | None = None) -> np.ndarray:
    """Read an image file, whatever it holds.

    Greyscale becomes three equal channels, CMYK and palettes RGB, 16 bits 8; transparency is left
    out, and the picture turned as its EXIF orientation says.

    Args:
        path: the file.
        digest: SHA-256 in hex of the bytes that a worker process has decoded without harm
            (`image_files.examine`). No others are decoded here, where a decoder's crash would end
            everything. None: a file of our own.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        CionError: it is no whole image, or has changed since it was looked at; names the file.
    """
    data = contents(path)
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise CionError(
            f"{path}: it has changed since it was looked at; run this (or `dvc repro`) again"
        )
    return decode(data, path)


def contents(path: Path | str) -> bytes:
    """The bytes of an image file.

    Raises:
        CionError: there is no such file, it cannot be read (in the system's words), or it is empty.
    """
    try:
        with opened(path) as file:
            data = file.read()
    except OSError as error:
        raise unreadable(path, (error.strerror or str(error)).lower()) from None
    if not data:
        raise unreadable(path, "it is empty")
    return data


def opened(path: Path | str) -> BinaryIO:
    """Open a file that somebody brings, to read its bytes.

    Raises:
        OSError: it cannot be read; or it is a pipe, a socket or a device, which may never end.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file")


def _without_waiting(path: str, flags: int) -> int:
    # Opening a pipe would wait for somebody who writes into it.
    return os.open(path, flags | os.O_NONBLOCK)


def decode(data: bytes, path: Path | str) -> np.ndarray:
    """`contents` as `read_image` gives them.

    Args:
        data: the bytes of an image file. From memory, for of a JPEG file that is cut off OpenCV
            reads what is there, and makes the rest grey.
        path: what errors name.

    Raises:
        CionError: no decoder makes a picture of it, or a JPEG file lacks its end.
    """
    # A JPEG file that is whole ends with its marker. One that does not may have something behind
    # it, or be cut off.
    if data.startswith(JPEG) and not data.endswith(JPEG_END):
        refuse_damaged_jpeg(data, path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (cv2.error, MemoryError):  # more pixels than OpenCV takes, or than there is memory for
        image = None
    if image is None:
        raise unreadable(path, "it is broken, cut off, or no image")
    return image


def refuse_damaged_jpeg(data: bytes, path: Path | str) -> None:
    """Decode a JPEG file strictly: what other readers fill with grey is an error here.

    It takes as long as decoding itself, so files are looked at once, where they come in
    (`image_files.examine`).

    Args:
        data: the bytes of the file.
        path: what errors name.

    Raises:
        CionError: part of the picture is missing or was changed.
    """
    try:
        simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as error:
        reason = str(error).removeprefix("Corrupt JPEG data: ")
        # Cameras leave bytes between two parts; other words say that this library does not know the
        # kind of JPEG.
        if (
            re.search("premature|Huffman|marker", reason, re.IGNORECASE)
            and "extraneous" not in reason
        ):
            raise unreadable(
                path, f"it is cut off or damaged: {reason[0].lower()}{reason[1:]}"
            ) from None


def unreadable(path: Path | str, why: str) -> CionError:
    """Make the error of an image file that cannot be used.

    Args:
        path: the file.
        why: the reason, as part of a sentence.
    """
    return CionError(f"{path}: not a readable image ({why}); replace or remove it")


def resize(image: np.ndarray, size: tuple[int, int], how: str = "") -> np.ndarray:
    """Resize an image.

    Args:
        image: [H, W, 3].
        size: (height, width).
        how: "bilinear" or "bicubic", as Pillow and so the published recipes do it (which averages
            where it shrinks); empty: over areas where both sides shrink, else bilinear, which is
            five times as fast.
    """
    if how:
        return np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[how]))
    shrink = image.shape[0] > size[0] and image.shape[1] > size[1]
    return cv2.resize(
        image, size[::-1], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    )
