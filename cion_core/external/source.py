"""A user's tracklets, in whatever form they come, and the features that go with them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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
Form = Literal["table", "mot", "images"]
# What each row of a feature file is made for, in messages.
COUNTED: dict[Form, str] = {"table": "rows", "mot": "lines", "images": "images"}
SEQUENCE_ENDS = ("/gt/gt.txt", "/det/det.txt")  # how the paths of MOT sequences' texts end
NUMBERS = "fiu"  # numpy's kinds of floats and whole numbers


@dataclass(frozen=True)
class Source:
    """Crops, and the rows of a feature file that are theirs.

    Attributes:
        crops: the table, of at least crop, video, frame, tracklet.
        rows: int64 [crops]: features of row i of the table lie in row `rows[i]` of a feature file,
            since lines and images that are set aside have some too.
        total: how many rows a feature file has.
        form: what the crops were read from: a crops table, MOT text or a folder of images.
        unused: by kind what of the input is no crop, for input.json.
        digests: SHA-256 of each crop's image, where images have been looked at.
    """

    crops: pd.DataFrame
    rows: np.ndarray
    total: int
    form: Form
    unused: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


def read(path: Path, classes: Collection[int] = (PEDESTRIAN,)) -> Source:
    """Read the crops of a table, MOT text or a folder of images.

    Args:
        path: the file or folder.
        classes: the numbers of people in MOT text that tells classes.

    Returns:
        At least one crop.

    Raises:
        CionError: it is none of them, or holds no crops.
    """
    if not path.exists():
        raise CionError(f"{path}: no such file or folder; {VALID}")
    refuse_special(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        source = _from_images(path) if _holds_images(path) else _from_mot(path, classes)
    elif suffix in crops_table.SUFFIXES:
        source = _from_all(crops_table.read(path), "table")
    elif suffix == ".txt":
        source = _from_mot(path, classes)
    else:
        raise CionError(f"{path}: {VALID}")
    if source.crops.empty:
        raise CionError(f"{path}: no crops in it")
    return source


def _from_all(crops: pd.DataFrame, form: Form) -> Source:
    """The source of crops for which a feature file has just as many rows."""
    rows = np.arange(len(crops))
    return Source(crops, rows, total=len(crops), form=form)


def _from_images(folder: Path) -> Source:
    """A folder of images; says what else lies in it, and what is doubtful about frames."""
    crops, found = image_folders.read(folder)
    image_files.tell("denoise", found)
    if frames_restart_in_each_tracklet(crops):
        say(
            f"denoise: {folder}: in every video all tracklets begin with the same frame, as if "
            "all were seen together. If frames are counted anew in each tracklet, use "
            "--no-cannot-link"
        )
    unused = {"set_aside": found.set_aside, "passed_over": found.passed_over}
    return replace(_from_all(crops, "images"), unused=unused)


def _from_mot(path: Path, classes: Collection[int]) -> Source:
    """MOT text; says what of it is no crop, and which classes it tells."""
    text = mot.read(path, classes)
    for file, reason in text.refused.items():
        say(f"denoise: {file} set aside: {reason}")
    if len(text.classes) > 1:
        counts = ", ".join(f"{number} ({count} lines)" for number, count in text.classes.items())
        people = ", ".join(map(str, sorted(classes)))
        say(f"denoise: {path}: classes are {counts}; people are {people}, which --class can change")
    lines_of_reason = {reason: len(lines) for reason, lines in text.set_aside.groupby("reason")}
    for reason, count in lines_of_reason.items():
        say(f"denoise: {path}: {count} lines are no crops: {reason}")
    unused = {
        "set_aside": text.refused,
        "lines": lines_of_reason,
        "classes": {str(number): count for number, count in text.classes.items()},
    }
    # A crop's number is that of its line, and every line has a row of features.
    rows = text.crops["crop"].to_numpy()
    total = len(text.crops) + len(text.set_aside)
    return Source(text.crops, rows, total, "mot", unused)


def _holds_images(folder: Path) -> bool:
    """Whether a folder is one of images of tracklets, which frames of MOT sequences are not."""
    names = shared.files(folder)
    holds_sequences = any(f"/{name.lower()}".endswith(SEQUENCE_ENDS) for name in names)
    if holds_sequences:
        return False
    return any(image_files.is_image(folder / name) for name in names)


def frames_restart_in_each_tracklet(crops: pd.DataFrame) -> bool:
    """Whether frames look counted anew in each tracklet.

    They do where in every video with several tracklets all begin with one frame.

    Args:
        crops: video, tracklet and frame.

    Returns:
        Whether it looks so; False where no video has several tracklets.
    """
    first_frames = crops.groupby(["video", "tracklet"])["frame"].min()
    of_video = first_frames.groupby("video").agg(tracklets="size", beginnings="nunique")
    several = of_video[of_video["tracklets"] > 1]
    if several.empty:
        return False
    return bool((several["beginnings"] == 1).all())


def leave_out_damaged(source: Source, folder: Path) -> Source:
    """Leave out the crops whose image cannot be read; each is looked at once, and named.

    Args:
        source: crops with the column path.
        folder: where the paths begin.

    Returns:
        The other crops, with their images' digests.

    Raises:
        CionError: none can be read.
    """
    paths = [folder / name for name in source.crops["path"]]
    usable = image_files.whole(ImageFolder(folder, paths), "denoise")
    image_files.tell("denoise", usable)
    is_usable = np.isin(np.array(paths, object), np.array(usable.paths, object))
    set_aside = source.unused.get("set_aside", {}) | usable.set_aside
    return replace(
        source,
        crops=source.crops[is_usable].reset_index(drop=True),
        rows=source.rows[is_usable],
        digests=usable.digests,
        unused={**source.unused, "set_aside": set_aside},
    )


def read_features(file: Path, source: Source, path: Path) -> np.ndarray:
    """Read the features of crops.

    Args:
        file: a .npy of shape [N, D].
        source: the crops.
        path: what the crops were read from, for messages.

    Returns:
        [N, D], row i of the table; a memory map unless lines were set aside.

    Raises:
        CionError: it is no such file, or has another number of rows.
    """
    refuse_special(file)
    features = _load(file)
    if len(features) != source.total:
        raise CionError(
            f"{file}: {len(features)} features, but {path} has {source.total} "
            f"{COUNTED[source.form]}, each with its own"
        )
    if len(source.rows) == source.total:
        return features
    return features[source.rows]


def _load(file: Path) -> np.ndarray:
    """The array in a .npy file, as a memory map; CionError unless it is one of numbers [N, D]."""
    try:
        loaded = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        raise CionError(f"{file}: no such file; --features is a .npy of shape [N, D]") from None
    except OSError as error:
        raise shared.unreadable(file, error) from None
    except (ValueError, EOFError, SyntaxError):  # the header of such a file is a Python expression
        raise CionError(
            f"{file}: not a .npy file of numbers; --features is one of shape [N, D]"
        ) from None
    if not isinstance(loaded, np.ndarray):
        raise CionError(f"{file}: found an archive, must be numbers of shape [N, D]")
    if loaded.ndim != 2 or loaded.dtype.kind not in NUMBERS:
        raise CionError(
            f"{file}: found {loaded.dtype} {loaded.shape}, must be numbers of shape [N, D]"
        )
    return loaded
