"""Market-1501's folders and names, in which its like and the demo's benchmark come too.

    FOLDER/bounding_box_train/   0002_c1s1_000451_03.jpg ...
    FOLDER/query/
    FOLDER/bounding_box_test/    the gallery; person -1 is junk, 0000 a distractor

A name begins with the person and the camera, PERSON_cCAMERA; what follows is free, so DukeMTMC-reID
(`0001_c2_f0046182.jpg`) and CUHK03-NP (`0001_c1_301.png`) are read too. In Market-1501 there is no
number 0 in training and query. Where there is, people count from 0, as in MSMT17 (`msmt17_market`),
and 0 is one of them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import DISTRACTOR
from cion_core.benchmark.layouts import _market_folders
from cion_core.benchmark.layouts.base import Layout
from cion_core.progress import say

VALID = "0002_c1s1_000451_03.jpg (person 2, camera 1; cameras from 1; -1 junk, 0000 distractor)"
_NAME = re.compile(r"(-1|\d+)_c(\d+)(?!\d)")


class Market1501(Layout):
    """Market-1501, and sets with its folders and names.

    People keep their numbers, unless 0 is in training or query: then all are one higher. Images are
    sorted by name within each split.
    """

    about = (
        "bounding_box_train/, query/ and bounding_box_test/, names that begin with PERSON_cCAMERA, "
        "people from 1"
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Layout.recognises`."""
        people = _market_folders.known_people(folder, parse_name)
        return bool(people) and DISTRACTOR not in people

    def read(self, folder: Path) -> pd.DataFrame:
        """See `Layout.read`."""
        images = _market_folders.read(folder, parse_name, VALID, self.hint(folder))
        in_gallery = images["split"] == "gallery"
        known_people = set(images["person"][~in_gallery])
        if DISTRACTOR not in known_people:
            return images
        say(
            f"benchmark: {folder}: person 0 is in training or query, so people count from 0, and "
            "0 is no distractor"
        )
        return _market_folders.count_from_one(images)


def parse_name(name: str) -> tuple[int, int] | None:
    """Read person and camera from a file's name.

    Args:
        name: such as 0002_c1s1_000451_03.jpg.

    Returns:
        Person and camera, as it has them; None where it tells none.
    """
    match = _NAME.match(name)
    if not match:
        return None
    person, camera = match.groups()
    return int(person), int(camera)
