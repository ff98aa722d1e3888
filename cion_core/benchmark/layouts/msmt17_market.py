"""MSMT17 in Market-1501's folders, as many hand it on.

Its names are such as `0000_c14_0002.jpg` and `0000_c14s1_000451_03.jpg`, or its own
(`0000_000_14_0303morning_0015_0.jpg`). Its people count from 0, in training and test each, so 0000
is somebody like the others; there are no distractors.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import JUNK
from cion_core.benchmark.layouts import _market_folders as folders
from cion_core.benchmark.layouts.base import Layout

VALID = (
    "0000_c14_0002.jpg or 0000_000_14_0303morning_0015_0.jpg (person 0, camera 14; cameras from 1; "
    "-1 junk)"
)
_NAME = re.compile(r"(-1|\d+)_(?:c(\d+)(?!\d)|\d+_(\d+)_)")


class MSMT17Market(Layout):
    """Person n of the names is n + 1; -1, which some that convert add, stays junk.

    Sorted by name in each split.
    """

    about = "MSMT17 in Market-1501's folders: people from 0, PERSON_cCAMERA or MSMT17's own names"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return 0 in folders.known_people(folder, label)

    def read(self, folder: Path) -> pd.DataFrame:
        images = folders.read(folder, label, VALID, self.below(folder))
        return images.assign(
            person=images["person"].where(images["person"] == JUNK, images["person"] + 1)
        )


def label(name: str) -> tuple[int, int] | None:
    """Person and camera of a file's name, as it has them."""
    match = _NAME.match(name)
    return (int(match[1]), int(match[2] or match[3])) if match else None
