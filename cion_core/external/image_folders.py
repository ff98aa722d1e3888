"""Folders of images of tracklets: LUPerson-NL's layout, and a plain one.

LUPerson-NL's, as its LUP-NL/extract.py writes it (github.com/DengpanFu/LUPerson-NL):
COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg, numbers of at least 6, 7 and 2 digits; a tracklet is
one person of one video, the video is the folder. The plain one: VIDEO/TRACKLET/FRAME.jpg (or
another image format), VIDEO of any depth, the frame being the one number in the name.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cion_core import image_files
from cion_core.errors import CionError
from cion_core.external import shared
from cion_core.external.shared import SHOWN
from cion_core.image_files import ImageFolder

LUPERSON_NL = re.compile(r"(\d{6,})_(\d{7,})_\d{2,}\.jpg", re.IGNORECASE)
LAYOUTS = (
    "valid: LUPerson-NL's COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg (000012_0000345_00.jpg), "
    "or for every image VIDEO/TRACKLET/FRAME.jpg, whose name holds one number"
)


def read(root: Path | str) -> tuple[pd.DataFrame, ImageFolder]:
    """Images of tracklets in folders, as crops.

    LUPerson-NL's layout is taken where every image has such a name, else the plain one. Frames must
    count through the video: images of two tracklets with one frame are two people seen together.

    Args:
        root: the folder. What begins with a dot in it is skipped.

    Returns:
        crop, video, frame, tracklet, path (relative to `root`), ordered by path; and what else lies
        in the folder.

    Raises:
        CionError: there are no images, or some fit neither layout; it names the first.
    """
    found = image_files.find(root)
    names = [path.relative_to(root).as_posix() for path in found.paths]
    if not names:
        raise CionError(f"{root}: no images ({image_files.USUAL}) in it; {LAYOUTS}")
    rows = [_of_luperson_nl(name) for name in names]
    if None in rows:
        rows = [_of_plain(name) for name in names]
    wrong = [name for name, row in zip(names, rows, strict=True) if row is None]
    if wrong:
        raise CionError(
            f"{root}: {len(wrong)} of {len(names)} images fit no layout, first {wrong[:SHOWN]}; "
            f"{LAYOUTS}"
        )
    video, tracklet, frame = (list(column) for column in zip(*rows, strict=True))
    table = pd.DataFrame(
        {
            "crop": np.arange(len(names)),
            "video": video,
            "frame": frame,
            "tracklet": shared.numbered(video, tracklet),
            "path": names,
        }
    )
    return table, found


def _of_luperson_nl(name: str) -> tuple[str, str, int] | None:
    video, _, last = name.rpartition("/")
    found = LUPERSON_NL.fullmatch(last)
    return (video, found[1], int(found[2])) if found and video else None


def _of_plain(name: str) -> tuple[str, str, int] | None:
    place = PurePosixPath(name)
    numbers = re.findall(r"\d+", place.stem)
    if len(place.parts) < 3 or len(numbers) != 1 or int(numbers[0]) >= 2**63:
        return None
    return str(place.parents[1]), place.parent.name, int(numbers[0])
