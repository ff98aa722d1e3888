"""Market-1501's folders and names, in which its like and the demo's benchmark come too.

    FOLDER/bounding_box_train/   0002_c1s1_000451_03.jpg ...
    FOLDER/query/
    FOLDER/bounding_box_test/    the gallery; person -1 is junk, 0000 a distractor

A name begins with the person and the camera, PERSON_cCAMERA; what follows is free, so DukeMTMC-reID
(`0001_c2_f0046182.jpg`) and CUHK03-NP (`0001_c1_301.png`) are read too. Nobody is number 0: in training and query
there is none, which tells such a set from MSMT17 in the same folders (`msmt17_market`).
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.labels import DISTRACTOR
from cion_core.benchmark.layouts import _market_folders as folders
from cion_core.benchmark.layouts.base import Layout
from cion_core.errors import CionError

VALID = "0002_c1s1_000451_03.jpg (person 2, camera 1; cameras from 1; -1 junk, 0000 distractor)"
_NAME = re.compile(r"(-1|\d+)_c(\d+)(?!\d)")


class Market1501(Layout):
    """Junk and distractors have the numbers that everything here gives them. Sorted by name within each split."""

    about = "bounding_box_train/, query/ and bounding_box_test/, names that begin with PERSON_cCAMERA, people from 1"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        people = folders.known_people(folder, label)
        return bool(people) and DISTRACTOR not in people

    def read(self, folder: Path) -> pd.DataFrame:
        images = folders.read(folder, label, VALID, self.below(folder))
        nobody = images["path"][(images["split"] != "gallery") & (images["person"] == DISTRACTOR)]
        if len(nobody):
            raise CionError(
                f"{nobody.iloc[0]} and {len(nobody) - 1} more images of training and query are of person 0, which in "
                "Market-1501 means a distractor, and those are in the gallery alone; where people count from 0, as in "
                "MSMT17, set benchmark.layout: msmt17_market"
            )
        return images


def label(name: str) -> tuple[int, int] | None:
    """Person and camera of a file's name."""
    match = _NAME.match(name)
    return (int(match[1]), int(match[2])) if match else None
