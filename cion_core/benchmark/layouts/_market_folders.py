"""The three folders of Market-1501 and its like, and of sets that were brought into this form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import JUNK
from cion_core.benchmark.layouts.base import SHOWN, image_names
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
    if missing_folders(folder):
        return set()
    names = image_names(folder / FOLDERS["train"]) + image_names(folder / FOLDERS["query"])
    parsed = [parse(name) for name in names]
    return {person_and_camera[0] for person_and_camera in parsed if person_and_camera}


def missing_folders(folder: Path) -> list[str]:
    """List which of the three folders are not there.

    Args:
        folder: where they should lie.

    Returns:
        Their names.
    """
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
    missing = missing_folders(folder)
    if missing:
        raise CionError(
            f"{folder}: no folder {', '.join(missing)}; a benchmark has "
            f"{', '.join(FOLDERS.values())}{hint}"
        )
    splits = [_read_split(folder / FOLDERS[split], split, parse, valid) for split in FOLDERS]
    return pd.concat(splits, ignore_index=True)


def count_from_one(images: pd.DataFrame) -> pd.DataFrame:
    """Give each person of a set that counts people from 0 the next higher number.

    Args:
        images: as `read` gives them.

    Returns:
        The same images; junk stays junk.
    """
    person = images["person"]
    return images.assign(person=person.where(person == JUNK, person + 1))


def _read_split(folder: Path, split: str, parse: Parse, valid: str) -> pd.DataFrame:
    names = image_names(folder)
    if not names:
        raise CionError(f"{folder}: no images ({USUAL})")
    rows: list[tuple[str, int, int]] = []
    unparsed: list[str] = []
    without_camera: list[str] = []
    for name in names:
        parsed = parse(name)
        if parsed is None:
            unparsed.append(name)
            continue
        person, camera = parsed
        if camera < 1:
            without_camera.append(name)
        rows.append((str(folder / name), person, camera))

    # A stray picture is left out, and the stage names it. Many are a sign of another layout.
    mostly_strays = len(unparsed) > len(names) / 2
    if mostly_strays or without_camera:
        bad = unparsed + without_camera
        raise CionError(
            f"{folder}: {len(bad)} of {len(names)} names tell no person and camera: "
            f"{', '.join(bad[:SHOWN])}; valid: {valid}"
        )
    return pd.DataFrame(rows, columns=["path", "person", "camera"]).assign(split=split)
