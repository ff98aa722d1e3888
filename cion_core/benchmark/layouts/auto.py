"""Finds out how a folder is laid out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.layouts.base import Layout, did_you_mean, subfolders
from cion_core.errors import CionError
from cion_core.progress import say


class Auto(Layout):
    """The layout that recognises a folder, of all that come with the project."""

    about = "whichever of these layouts recognises the folder"

    def of_folder(self, folder: Path) -> Layout:
        """See `Layout.of_folder`."""
        found = _recognising_layouts(folder)
        if len(found) == 1:
            layout = found[0]
            say(f"benchmark: {folder} is in the layout {layout.name}: {layout.about}")
            return layout()

        others = [layout for layout in LAYOUTS.all() if layout is not type(self)]
        known = "\n".join(f"  {layout.name}: {layout.about}" for layout in others)
        if found:
            names = " and ".join(layout.name for layout in found)
            raise CionError(
                f"{folder}: it fits {names}; say which in benchmark.layout. Layouts are\n{known}"
            )
        hint = did_you_mean([path for path in subfolders(folder) if _recognising_layouts(path)])
        raise CionError(f"{folder}: it is in no layout that is known{hint}\n{known}")

    def read(self, folder: Path) -> pd.DataFrame:
        """See `Layout.read`."""
        layout = self.of_folder(folder)
        return layout.read(folder)


def _recognising_layouts(folder: Path) -> list[type[Layout]]:
    return [layout for layout in LAYOUTS.all() if layout.recognises(folder)]
