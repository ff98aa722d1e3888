"""The videos that a user names, laid out as one folder of links: a folder of it for each camera."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from cion_core.errors import CionError


def lay_out(paths: Iterable[Path], folder: Path) -> None:
    """Fill `folder` with links to the videos; what it held before is removed.

    A folder that the user passes is linked by its own name. A file goes below the name of the
    folder that it lies in, for clips of one camera mostly lie together. Where two folders of
    one name are meant, the second gets a number: of `a/cam1` and `b/cam1` come `cam1` and `cam1-2`.

    Args:
        paths: files and folders.
        folder: is made.

    Raises:
        CionError: something that is passed is not there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name_of: dict[Path, str] = {}
    for path in paths:
        if not os.path.lexists(path):
            raise CionError(f"{path}: no such file or folder; name videos, or folders of them")
        place = path.absolute()
        if path.is_dir():
            name = _name_for(place, name_of)
            (folder / name).symlink_to(place)
        else:
            name = _name_for(place.parent, name_of)
            (folder / name).mkdir(exist_ok=True)
            link = folder / name / place.name
            if not link.is_symlink():
                link.symlink_to(place)


def _name_for(place: Path, name_of: dict[Path, str]) -> str:
    """The name of a folder's link: its own, with a number where another folder has it."""
    if place in name_of:
        return name_of[place]
    wanted = place.name or "videos"
    name, number = wanted, 1
    while name in name_of.values():
        number += 1
        name = f"{wanted}-{number}"
    name_of[place] = name
    return name
