"""A user's tracklets, in whatever form they come, and the features that go with them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cion_core import image_files
from cion_core.errors import CionError, refuse_special
from cion_core.external import crops_table, image_folders, mot, shared
from cion_core.external.mot_lines import PEDESTRIAN
from cion_core.image_files import ImageFolder
from cion_core.progress import say

VALID = (
    "valid: a crops table (.parquet, .csv, .tsv), MOT text (.txt or a folder of it), or a folder "
    "of images"
)


@dataclass(frozen=True)
class Source:
    """Crops, and the rows of a feature file that are theirs.

    Attributes:
        crops: the table, of at least crop, video, frame, tracklet.
        rows: int64 [crops]: features of row i of the table lie in row `rows[i]` of a feature file,
            since lines and images that are set aside have some too.
        total: how many rows a feature file has.
        unit: what each row is made for (rows, lines, images).
        unused: by kind what of the input is no crop, for input.json.
        digests: SHA-256 of each crop's image, where images have been looked at.
    """

    crops: pd.DataFrame
    rows: np.ndarray
    total: int
    unit: str
    unused: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


def read(what: Path, classes: Collection[int] = (PEDESTRIAN,)) -> Source:
    """The crops of a table, MOT text or a folder of images.

    Args:
        what: the file or folder.
        classes: the numbers of people in MOT text that tells classes.

    Raises:
        CionError: it is none of them, or holds no crops.
    """
    if not what.exists():
        raise CionError(f"{what}: no such file or folder; {VALID}")
    refuse_special(what)
    suffix = what.suffix.lower()
    if suffix in crops_table.SUFFIXES and not what.is_dir():
        source = _all_of(crops_table.read(what), "rows")
    elif (suffix == ".txt" and not what.is_dir()) or (what.is_dir() and not _holds_images(what)):
        source = _of_mot(what, classes)
    elif what.is_dir():
        crops, found = image_folders.read(what)
        image_files.tell("denoise", found)
        unused = {"set_aside": found.set_aside, "passed_over": found.passed_over}
        source = replace(_all_of(crops, "images"), unused=unused)
        if numbered_apart(source.crops):
            say(
                f"denoise: {what}: in every video all tracklets begin with the same frame, as if "
                "all were seen together. If frames are counted anew in each tracklet, use "
                "--no-cannot-link"
            )
    else:
        raise CionError(f"{what}: {VALID}")
    if source.crops.empty:
        raise CionError(f"{what}: no crops in it")
    return source


def _all_of(crops: pd.DataFrame, unit: str) -> Source:
    return Source(crops, np.arange(len(crops)), len(crops), unit)


def without_damaged(source: Source, folder: Path) -> Source:
    """Leave out the crops whose image cannot be read; each is looked at once, and named.

    Args:
        source: crops with the column path.
        folder: where the paths begin.

    Raises:
        CionError: none can be read.
    """
    paths = [folder / name for name in source.crops.path]
    usable = image_files.whole(ImageFolder(folder, paths), "denoise")
    image_files.tell("denoise", usable)
    kept = np.isin(np.array(paths, object), np.array(usable.paths, object))
    return replace(
        source,
        crops=source.crops[kept].reset_index(drop=True),
        rows=source.rows[kept],
        digests=usable.digests,
        unused={
            **source.unused,
            "set_aside": source.unused.get("set_aside", {}) | usable.set_aside,
        },
    )


def _of_mot(what: Path, classes: Collection[int]) -> Source:
    """MOT text; says what of it is no crop, and which classes it tells."""
    text = mot.read(what, classes)
    for file, reason in text.refused.items():
        say(f"denoise: {file} set aside: {reason}")
    if len(text.classes) > 1:
        counts = ", ".join(f"{number} ({count} lines)" for number, count in text.classes.items())
        kept = ", ".join(map(str, sorted(classes)))
        say(f"denoise: {what}: classes are {counts}; people are {kept}, which --class can change")
    reasons = {reason: len(lines) for reason, lines in text.set_aside.groupby("reason")}
    for reason, count in reasons.items():
        say(f"denoise: {what}: {count} lines are no crops: {reason}")
    unused = {
        "set_aside": text.refused,
        "lines": reasons,
        "classes": {str(k): v for k, v in text.classes.items()},
    }
    total = len(text.crops) + len(text.set_aside)
    return Source(text.crops, text.crops.crop.to_numpy(), total, "lines", unused)


def _holds_images(folder: Path) -> bool:
    """Whether a folder is one of images of tracklets, which frames of MOT sequences are not."""
    names = shared.files(folder)
    sequences = any(f"/{name.lower()}".endswith(("/gt/gt.txt", "/det/det.txt")) for name in names)
    return not sequences and any(image_files.is_image(folder / name) for name in names)


def numbered_apart(crops: pd.DataFrame) -> bool:
    """Whether frames look counted anew in each tracklet.

    They do where in every video with several tracklets all begin with one frame.
    """
    first = (
        crops.groupby(["video", "tracklet"]).frame.min().groupby("video").agg(["size", "nunique"])
    )
    several = first[first["size"] > 1]
    return len(several) > 0 and bool((several["nunique"] == 1).all())


def read_features(path: Path, source: Source, what: Path) -> np.ndarray:
    """Read the features of crops.

    Args:
        path: a .npy of shape [N, D].
        source: the crops.
        what: what the crops were read from, for messages.

    Returns:
        [N, D], row i of the table; a memory map unless lines were set aside.

    Raises:
        CionError: it is no such file, or has another number of rows.
    """
    refuse_special(path)
    try:
        found = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; --features is a .npy of shape [N, D]") from None
    except OSError as error:
        raise CionError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    except (ValueError, EOFError, SyntaxError):  # the header of such a file is a Python expression
        raise CionError(
            f"{path}: not a .npy file of numbers; --features is one of shape [N, D]"
        ) from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        shape = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else "an archive"
        raise CionError(f"{path}: found {shape}, must be numbers of shape [N, D]")
    if len(found) != source.total:
        raise CionError(
            f"{path}: {len(found)} features, but {what} has {source.total} {source.unit}, each "
            "with its own"
        )
    return found if len(source.rows) == source.total else found[source.rows]
