"""Videos that are folders of numbered images.

A folder is a video in two cases:

- It holds a `seqinfo.ini`, as sequences of the MOT challenge do. The images lie in the folder that
  it names (`imDir`, else `img1`), and `frameRate` is their rate.
- Its images are numbered, and nothing else: one beginning that all names share, perhaps none, and a
  number (`000001.jpg`, `frame_0010.png`), at least ten of them, with at least every second number
  there. Their rate is `frameRate` of a `seqinfo.ini` beside them, else `ingest.sequence_fps` of
  params.yaml.

Other folders of images are piles of pictures, which are no footage. Numbers that are missing are
time that passes.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cion_core.errors import CionError
from cion_core.image_files import SUFFIXES
from cion_core.images import read_image
from cion_core.ingest.clock import FASTEST
from cion_core.ingest.problems import BadVideo

INFO = "seqinfo.ini"
FOLDER = "img1"
FEWEST = 10  # images
NUMBERED = re.compile(r"(?P<beginning>.*?)(?P<number>\d+)$")
LOOKED_AT = 10  # images whose sizes are compared
SLOWEST = 1e-5  # frames a second, about one a day


@dataclass(frozen=True)
class Images:
    """The images of a sequence, in order, and their places in time.

    Attributes:
        paths: the files.
        places: which frame of the sequence each is, from 0, rising; a number that is missing is
            left out.
    """

    paths: list[Path]
    places: np.ndarray


def is_image(path: Path) -> bool:
    """Whether a file is named as an image is."""
    return path.suffix.lower() in SUFFIXES


def are_numbered(names: Iterable[Path]) -> bool:
    """Whether images of a folder are the frames of a video, by the second rule above.

    Args:
        names: the images (see `is_image`).

    Returns:
        Whether their names are one beginning and numbers, of which at least every second is there.
    """
    paths = list(names)
    matches = [NUMBERED.match(path.stem) for path in paths]
    if len(paths) < FEWEST or not all(matches):
        return False
    kinds = {
        (match["beginning"], path.suffix.lower())
        for match, path in zip(matches, paths, strict=True)
    }
    if len(kinds) > 1:
        return False
    numbers = sorted(int(match["number"]) for match in matches)
    step = int(np.diff(numbers).min())
    are_all_different = step > 0
    longest_span = 2 * step * len(numbers)
    return are_all_different and numbers[-1] - numbers[0] <= longest_span


def find_images(folder: Path) -> Images:
    """Find the images of a sequence.

    Args:
        folder: the folder of the sequence.

    Returns:
        The images, ordered by number; by name where not all names have a number of their own.

    Raises:
        BadVideo: there are none, or the folder cannot be read.
    """
    try:
        inner = folder / _name_inner_folder(folder)
        place = inner if inner.is_dir() else folder
        visible = [path for path in place.iterdir() if not path.name.startswith(".")]
        paths = sorted(path for path in visible if is_image(path))
    except OSError as error:
        raise BadVideo(f"cannot be read: {error.strerror}") from None
    if not paths:
        raise BadVideo(f"no images in it, nor in {FOLDER}/")
    matches = [NUMBERED.match(path.stem) for path in paths]
    numbers = [int(match["number"]) if match else None for match in matches]
    are_numbers_of_their_own = None not in numbers and len(set(numbers)) == len(numbers)
    if not are_numbers_of_their_own:
        return Images(paths, np.arange(len(paths)))
    order = np.argsort(numbers, kind="stable")
    rising = np.array(numbers)[order]
    step = int(np.diff(rising).min()) if len(rising) > 1 else 1
    in_order = [paths[row] for row in order]
    return Images(in_order, (rising - rising[0]) // step)


def frame_rate(folder: Path) -> float | None:
    """Read `frameRate` in the sequence's seqinfo.ini.

    Args:
        folder: the folder of the sequence.

    Returns:
        Frames a second; None where there is no such file or key.

    Raises:
        BadVideo: the file is no such file, or the rate no number that a camera can have.
    """
    told = _read_info(folder).get("frameRate")
    if told is None:
        return None
    try:
        rate = float(told)
    except ValueError:
        rate = 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise BadVideo(f"{INFO}: frameRate {told} is no number from {SLOWEST:g} to {FASTEST:g}")
    return rate


def _name_inner_folder(folder: Path) -> str:
    """The name of the folder inside `folder` in which the images may lie.

    Raises:
        BadVideo: the folder that is named lies elsewhere.
    """
    told = _read_info(folder).get("imDir", FOLDER)
    if Path(told).is_absolute() or ".." in Path(told).parts:
        raise BadVideo(f"{INFO}: imDir {told} is no folder inside this one")
    return told


def _read_info(folder: Path) -> configparser.SectionProxy | dict[str, str]:
    """The section [Sequence] of the folder's seqinfo.ini; empty where there is none."""
    if not (folder / INFO).is_file():
        return {}
    info = configparser.ConfigParser(interpolation=None)
    try:
        info.read_string((folder / INFO).read_text(encoding="utf-8-sig"))
        return info["Sequence"]
    except UnicodeDecodeError:
        raise BadVideo(f"{INFO}: not UTF-8 text; save it as UTF-8") from None
    except (configparser.Error, KeyError) as error:
        first = str(error).splitlines()[0]
        raise BadVideo(
            f"{INFO}: not of the form [Sequence], frameRate=25 and so on ({first})"
        ) from None


def size(found: Images) -> tuple[int, int]:
    """Find the size of the images, by some of them.

    Args:
        found: the images of a sequence.

    Returns:
        Width and height, in pixels.

    Raises:
        BadVideo: the first cannot be read, or those that are looked at differ in size.
    """
    sizes = set()
    spread_evenly = np.linspace(0, len(found.paths) - 1, LOOKED_AT).astype(int)
    for row in np.unique(spread_evenly):
        image = read(found.paths[row])
        if image is not None:
            sizes.add(image.shape[1::-1])
    if not sizes:
        raise BadVideo("none of its images can be read")
    if len(sizes) > 1:
        told = " and ".join(f"{width}x{height}" for width, height in sorted(sizes)[:2])
        raise BadVideo(f"its images differ in size ({told}), as pictures do, and frames do not")
    return sizes.pop()


def read(path: Path) -> np.ndarray | None:
    """Read an image.

    Args:
        path: the file.

    Returns:
        BGR uint8 [H, W, 3]; None where it is broken.
    """
    try:
        image = read_image(path)
    except CionError:
        return None
    return np.ascontiguousarray(image[..., ::-1])
