"""What a layout must do."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.config import Section
from cion_core.errors import is_unicode
from cion_core.image_files import is_image
from cion_core.registry import Part

SHOWN = 5  # bad names or lines that an error shows


class Layout(Part, of=LAYOUTS):
    """How a labelled set lies in a folder: which file is in which split, of whom, by which camera.

    A layout is one file of this package with a subclass that has `about`, a one-line description
    shown to users, and `read`. What it has to be told it declares as `Settings`, which stand in the
    section `benchmark` under its name (`auto: {}` where there is nothing to tell). A layout that
    `auto` shall find has `recognises` too. `auto` asks them all, so what it reads depends on all
    their files. A demo world is rendered in one layout and read in that, whatever
    `benchmark.layout` says.
    """

    def __init__(self, settings: Section | None = None) -> None:
        """Make a layout.

        Args:
            settings: its own, as `Settings` declares them; None: those that hold by default.
        """
        self.settings = settings or self.Settings()

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder is laid out so, by the names in it.

        At most one layout may say so of a set. By default False: such a layout is read where
        `benchmark.layout` names it, and `auto` never finds it. Errors that tell which folder
        inside would be right go by it, too.

        Args:
            folder: the folder of a set, or any other.

        Returns:
            Whether this layout can read it.
        """
        return False

    def of_folder(self, folder: Path) -> Layout:
        """Find the layout that reads a folder: this one, unless its task is to find another.

        Args:
            folder: the folder of a set.

        Returns:
            The layout.

        Raises:
            CionError: it finds none.
        """
        return self

    @abstractmethod
    def read(self, folder: Path) -> pd.DataFrame:
        """Read the images of a folder.

        `split` is train (for fine-tuning), query (the images to find people by) or gallery (those
        among which they are sought); each has some rows. People are numbered from 1, cameras from
        1; query and gallery share their people's numbers, and those of training may be the same or
        others. Translate the set's own marks: -1 is junk, a bad box that no ranking counts, and 0 a
        distractor, somebody whom no query is of. Where the set counts people from 0, somebody is 0,
        and it is for the layout to give them another number. Order rows by something that every
        machine has, such as the path, within each split. Paths need not be opened: the stage reads
        every image once.

        Args:
            folder: the folder of the set.

        Returns:
            Columns path (which begins with `folder`), split, person and camera.

        Raises:
            CionError: the folder is not laid out so; it names the first files that are wrong, and
                what would be right.
        """

    @classmethod
    def hint(cls, folder: Path) -> str:
        """Name the folders inside that are laid out so.

        Args:
            folder: one that is not.

        Returns:
            The end of an error, or ''.
        """
        return did_you_mean([path for path in subfolders(folder) if cls.recognises(path)])


def did_you_mean(found: list[Path]) -> str:
    """Name folders that would be right.

    Args:
        found: the folders, perhaps none.

    Returns:
        '; did you mean FOLDER?', the end of an error, or ''.
    """
    if not found:
        return ""
    names = " or ".join(map(str, found))
    return f"; did you mean {names}?"


def image_names(folder: Path) -> list[str]:
    """List the image files in a folder.

    Hidden ones and other files (Thumbs.db, ._0001.jpg) are left out, and so are names that are not
    UTF-8, which no table can hold. The stage says how many of them there are.

    Args:
        folder: where to look, not below it.

    Returns:
        Their names, sorted.
    """
    names = [name for name in os.listdir(folder) if name[0] != "." and is_unicode(name)]
    return sorted(name for name in names if is_image(folder / name))


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder; hidden ones are left out.

    Args:
        folder: where to look, not below it.

    Returns:
        Their paths, sorted by name.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(path for path in visible if path.is_dir())
