"""The files of a folder."""

from __future__ import annotations

import os
from pathlib import Path


def files(folder: Path | str, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
    """All files below `folder` whose names end in one of `suffixes` (of any case), sorted.

    Follows links to folders, each once, and leaves hidden names out. A link that leads nowhere counts as a file.
    """
    found, seen = [], set()
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to where we were
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [Path(here, name) for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
    return sorted(found)
