"""Market-1501's folders and names, in which its like and the demo's benchmark come too.

    FOLDER/bounding_box_train/   0002_c1s1_000451_03.jpg ...
    FOLDER/query/
    FOLDER/bounding_box_test/    the gallery; person -1 is junk, 0000 a distractor

A name begins with the person and the camera, PERSON_cCAMERA; what follows is free, so DukeMTMC-reID
(`0001_c2_f0046182.jpg`) and CUHK03-NP (`0001_c1_301.png`) are read too. MSMT17 is when its images carry such names
and its people count from 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts.base import Layout
from cion_core.errors import CionError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
SUFFIXES = (".jpg", ".jpeg", ".png")
_NAME = re.compile(r"(-1|\d+)_c(\d+)(?!\d)")


class Market1501(Layout):
    """Sorted by name within each split. Other files (Thumbs.db, readme.txt) and hidden ones are passed over."""

    about = "bounding_box_train/, query/ and bounding_box_test/, names that begin with PERSON_cCAMERA"

    def read(self, folder: Path) -> pd.DataFrame:
        missing = [name for name in FOLDERS.values() if not (folder / name).is_dir()]
        if missing:
            raise CionError(f"{folder}: no folder {', '.join(missing)}; a benchmark has {', '.join(FOLDERS.values())}")
        return pd.concat([_split(folder / name, split) for split, name in FOLDERS.items()], ignore_index=True)


def _split(folder: Path, split: str) -> pd.DataFrame:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise CionError(f"{folder}: no images ({', '.join(SUFFIXES)})")
    matches = [_NAME.match(path.name) for path in paths]
    bad = [path.name for path, match in zip(paths, matches, strict=True) if not match or int(match[2]) < 1]
    if bad:
        raise CionError(
            f"{folder}: {len(bad)} of {len(paths)} names tell no person and camera: {', '.join(bad[:5])}; "
            "valid: 0002_c1s1_000451_03.jpg (person 2, camera 1; cameras from 1; -1 junk, 0000 distractor)"
        )
    return pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "split": split,
            "person": [int(match[1]) for match in matches],
            "camera": [int(match[2]) for match in matches],
        }
    )
