"""The three folders of Market-1501 and its like, and of sets that were brought into this form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts.base import image_names
from cion_core.errors import CionError
from cion_core.image_files import USUAL

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}

# A file's name to person and camera, as it says them.
Parse = Callable[[str], tuple[int, int] | None]


def known_people(folder: Path, parse: Parse) -> set[int]:
    """Find who is in training and query, by the names of their files.

    Args:
        folder: of the three folders.
        parse: takes a name apart.

    Returns:
        Numbers of people; none where one of the three folders is missing.
    """
    if missing(folder):
        return set()
    found = [
        parse(name) for split in ("train", "query") for name in image_names(folder / FOLDERS[split])
    ]
    return {label[0] for label in found if label}


def missing(folder: Path) -> list[str]:
    """Which of the three folders are not there."""
    return [name for name in FOLDERS.values() if not (folder / name).is_dir()]


def read(folder: Path, parse: Parse, valid: str, hint: str) -> pd.DataFrame:
    """Read the images of the three folders, with person and camera as their names say.

    Args:
        folder: of the three folders.
        parse: takes a name apart.
        valid: a name that tells person and camera, for messages.
        hint: ends the message that a folder is missing.

    Returns:
        path, split, person and camera, sorted by name in each split.

    Raises:
        CionError: a folder is missing or empty, or names tell no person or camera.
    """
    if absent := missing(folder):
        raise CionError(
            f"{folder}: no folder {', '.join(absent)}; a benchmark has "
            f"{', '.join(FOLDERS.values())}{hint}"
        )
    return pd.concat(
        [_split(folder / name, split, parse, valid) for split, name in FOLDERS.items()],
        ignore_index=True,
    )


def _split(folder: Path, split: str, parse: Parse, valid: str) -> pd.DataFrame:
    names = image_names(folder)
    if not names:
        raise CionError(f"{folder}: no images ({USUAL})")
    found = [parse(name) for name in names]
    unknown = [name for name, label in zip(names, found, strict=True) if label is None]
    bad = unknown + [
        name for name, label in zip(names, found, strict=True) if label and label[1] < 1
    ]
    # A stray picture is left out, and the stage names it. Many are a sign that the layout is
    # another.
    if len(unknown) > len(names) / 2 or len(bad) > len(unknown):
        raise CionError(
            f"{folder}: {len(bad)} of {len(names)} names tell no person and camera: "
            f"{', '.join(bad[:5])}; valid: {valid}"
        )
    told = [(str(folder / name), *label) for name, label in zip(names, found, strict=True) if label]
    return pd.DataFrame(told, columns=["path", "person", "camera"]).assign(split=split)
