"""Image files as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cion_core import image_files
from cion_core.errors import CionError
from cion_core.image_files import ImageFolder
from cion_core.images import read_image


def find_images(paths: Sequence[Path], what: str) -> ImageFolder:
    """Images as named, and those of folders at any depth by name; damaged ones are set aside.

    An image that is named twice, or that also lies in a folder that is named, is taken twice.

    Args:
        paths: files and folders.
        what: who asks, for what is said of files that are not used.

    Raises:
        CionError: something is not there, or no image is left.
    """
    images: list[Path] = []
    set_aside: dict[str, str] = {}
    passed_over: dict[str, int] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = image_files.find(path)
            images += found.paths
            set_aside |= found.set_aside
            for suffix, count in found.passed_over.items():
                passed_over[suffix] = passed_over.get(suffix, 0) + count
        elif path.exists():
            images.append(path)
        else:
            raise CionError(f"{path}: no such file or folder")
    together = ImageFolder(Path(paths[0]), images, set_aside, passed_over)
    usable = image_files.whole(together, what)
    image_files.tell(what, usable)
    return usable


def read_images(paths: Sequence[Path]) -> list[np.ndarray]:
    """The images of `find_images(paths)`, RGB uint8 [H, W, 3] each."""
    found = find_images(paths, "images")
    checked = zip(found.paths, found.digests, strict=True)
    return [read_image(path, digest) for path, digest in checked]
