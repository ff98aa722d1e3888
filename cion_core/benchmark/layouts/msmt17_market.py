"""MSMT17 in Market-1501's folders, as many hand it on.

Its names are such as `0000_c14_0002.jpg` and `0000_c14s1_000451_03.jpg`, or its own
(`0000_000_14_0303morning_0015_0.jpg`). Its people count from 0, in training and test each, so 0000
is somebody like the others; there are no distractors.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts import _market_folders
from cion_core.benchmark.layouts.base import Layout

VALID = (
    "0000_c14_0002.jpg or 0000_000_14_0303morning_0015_0.jpg (person 0, camera 14; cameras from 1; "
    "-1 junk)"
)
_NAME = re.compile(r"(-1|\d+)_(?:c(\d+)(?!\d)|\d+_(\d+)_)")


class MSMT17Market(Layout):
    """MSMT17, copied into Market-1501's folders.

    Person n of the names becomes n + 1; -1, which some that convert add, stays junk. Images are
    sorted by name within each split.
    """

    about = "MSMT17 in Market-1501's folders: people from 0, PERSON_cCAMERA or MSMT17's own names"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Layout.recognises`."""
        return 0 in _market_folders.known_people(folder, parse_name)

    def read(self, folder: Path) -> pd.DataFrame:
        """See `Layout.read`."""
        images = _market_folders.read(folder, parse_name, VALID, self.hint(folder))
        return _market_folders.count_from_one(images)


def parse_name(name: str) -> tuple[int, int] | None:
    """Read person and camera from a file's name.

    Args:
        name: such as 0000_c14_0002.jpg or 0000_000_14_0303morning_0015_0.jpg.

    Returns:
        Person and camera, as it has them; None where it tells none.
    """
    match = _NAME.match(name)
    if not match:
        return None
    person, camera_after_c, camera_of_msmt17 = match.groups()
    return int(person), int(camera_after_c or camera_of_msmt17)
