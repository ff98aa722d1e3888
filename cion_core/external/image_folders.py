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
from cion_core.external.shared import SHOWN, number_tracklets
from cion_core.image_files import ImageFolder

VALID = (
    "valid: LUPerson-NL's COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg (000012_0000345_00.jpg), "
    "or for every image VIDEO/TRACKLET/FRAME.jpg, whose name holds one number"
)
LARGEST_FRAME = 2**63 - 1  # what int64 holds
_LUPERSON_NL = re.compile(r"(\d{6,})_(\d{7,})_\d{2,}\.jpg", re.IGNORECASE)

Place = tuple[str, str, int]  # video, tracklet and frame, as an image's path says them


def read(root: Path | str) -> tuple[pd.DataFrame, ImageFolder]:
    """Read images of tracklets in folders, as crops.

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
        raise CionError(f"{root}: no images ({image_files.USUAL}) in it; {VALID}")

    places = [_parse_luperson_nl(name) for name in names]
    if None in places:
        places = [_parse_plain(name) for name in names]
    wrong = [name for name, place in zip(names, places, strict=True) if place is None]
    if wrong:
        raise CionError(
            f"{root}: {len(wrong)} of {len(names)} images fit no layout, first {wrong[:SHOWN]}; "
            f"{VALID}"
        )

    videos, tracklets, frames = map(list, zip(*places, strict=True))
    crops = pd.DataFrame(
        {
            "crop": np.arange(len(names)),
            "video": videos,
            "frame": frames,
            "tracklet": number_tracklets(videos, tracklets),
            "path": names,
        }
    )
    return crops, found


def _parse_luperson_nl(name: str) -> Place | None:
    video, _, file = name.rpartition("/")
    match = _LUPERSON_NL.fullmatch(file)
    if not match or not video:
        return None
    person, frame = match.groups()
    return video, person, int(frame)


def _parse_plain(name: str) -> Place | None:
    path = PurePosixPath(name)
    numbers = re.findall(r"\d+", path.stem)
    if len(path.parts) < 3 or len(numbers) != 1:
        return None
    frame = int(numbers[0])
    if frame > LARGEST_FRAME:
        return None
    tracklet_folder, video_folder = path.parents[0], path.parents[1]
    return str(video_folder), tracklet_folder.name, frame
