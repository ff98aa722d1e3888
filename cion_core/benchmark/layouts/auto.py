"""Finds out how a folder is laid out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.layouts.base import Layout, inside, subfolders
from cion_core.errors import CionError
from cion_core.progress import say


class Auto(Layout):
    """Asks every layout that comes with the project whether it recognises the folder."""

    about = "whichever of these layouts recognises the folder"

    def of_folder(self, folder: Path) -> Layout:
        found = _recognising(folder)
        if len(found) == 1:
            say(f"benchmark: {folder} is in the layout {found[0].name}: {found[0].about}")
            return found[0]()
        known = "\n".join(
            f"  {part.name}: {part.about}" for part in LAYOUTS.all() if part is not type(self)
        )
        if found:
            names = " and ".join(part.name for part in found)
            raise CionError(
                f"{folder}: it fits {names}; say which in benchmark.layout. Layouts are\n{known}"
            )
        hint = inside([path for path in subfolders(folder) if _recognising(path)])
        raise CionError(f"{folder}: it is in no layout that is known{hint}\n{known}")

    def read(self, folder: Path) -> pd.DataFrame:
        return self.of_folder(folder).read(folder)


def _recognising(folder: Path) -> list[type[Layout]]:
    return [part for part in LAYOUTS.all() if part.recognises(folder)]
