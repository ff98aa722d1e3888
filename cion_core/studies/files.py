"""Folders in which a room's stage runs as in data/.

They hold links to what is the same there, and files of their own beside.
"""

from __future__ import annotations

import json
from pathlib import Path

from cion_core.errors import CionError


def link(place: Path, target: Path) -> None:
    """Make `place` a link to `target`, unless it is one already."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target.absolute())


def load(path: Path) -> dict:
    """Read a JSON file.

    Raises:
        CionError: the stage that writes it has not run.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "no such file; the stage that writes it has not run (`cion study NAME`)"
        raise CionError(f"{path}: {problem}") from None
