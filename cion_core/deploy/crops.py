"""Image files as they are named on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cion_core.errors import CionError
from cion_core.images import read_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def files(paths: Iterable[Path]) -> list[Path]:
    """Image files as named, and those of folders at any depth, in order of their names; CionError for none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not below:
                raise CionError(f"{path}: no images ({', '.join(SUFFIXES)})")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise CionError(f"{path}: no such file or folder")
    return found


def read(paths: Iterable[Path]) -> list[np.ndarray]:
    """The images of `files(paths)`, RGB uint8 [H, W, 3] each."""
    return [read_image(path) for path in files(paths)]
