"""MOT-challenge text: the results of a tracker in, identities out.

A line is frame, id, x, y, w, h, conf, perhaps a class, and whatever follows, which is ignored;
frames and boxes count from 1 (motchallenge.net/instructions; TrackEval's
docs/MOTChallenge-Official). `mot_lines` reads one file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cion_core import work
from cion_core.errors import CionError
from cion_core.external import mot_lines, shared

BOX = ("x1", "y1", "x2", "y2")
CROP = ("crop", "video", "frame", "tracklet", *BOX, "confidence")
WRITTEN = ("crop", "video", "frame", *BOX, "confidence")  # columns that MOT text is made of
SEQUENCE_FILES = (("gt", "gt.txt"), ("det", "det.txt"))  # folder and file, in any case
VALID = "valid: SEQUENCE/gt/gt.txt, or a VIDEO.txt per video"


@dataclass(frozen=True)
class MotText:
    """What MOT-challenge text holds.

    Attributes:
        crops: crop (number of the line in the input, blank lines not counted, files in order of
            their names), video, frame (from 0), tracklet, x1 y1 x2 y2 (pixels from 0, clipped where
            the frame begins), confidence.
        set_aside: crop and reason of the lines that are no crops.
        classes: how many lines there are of each class, by its number; empty where none is told.
        refused: reasons by file, of files of a folder that are no MOT text of a tracker.
    """

    crops: pd.DataFrame
    set_aside: pd.DataFrame
    classes: dict[int, int]
    refused: dict[str, str]


def read(path: Path | str, classes: Collection[int] = (mot_lines.PEDESTRIAN,)) -> MotText:
    """Read MOT-challenge text as crops.

    Args:
        path: one file of one video, or a folder: MOT's SEQUENCE/gt/gt.txt (else
            SEQUENCE/det/det.txt), where the video is the sequence, or a tracker's results, one
            VIDEO.txt each, at any depth.
        classes: the numbers of people in the eighth column, where it tells a class.

    Returns:
        The crops, and what else the text holds.

    Raises:
        CionError: no file can be read, an id is twice in one frame, or no line is a crop; it names
            file and lines.
    """
    lines, refused = _read_files(path, classes)
    is_crop = lines["reason"] == ""
    if len(lines) and not is_crop.any():
        raise CionError(f"{path}: no line of it is a crop: {_describe_reasons(lines['reason'])}")
    lines["crop"] = np.arange(len(lines))
    crops = lines[is_crop].reset_index(drop=True)
    crops["tracklet"] = shared.number_tracklets(crops["video"], crops["id"].astype(np.int64))
    return MotText(
        crops=crops[list(CROP)],
        set_aside=lines[["crop", "reason"]][~is_crop],
        classes=_count_classes(lines["class"]),
        refused=refused,
    )


def _read_files(path: Path | str, classes: Collection[int]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The lines of all files below each other, and why files of a folder were refused."""
    texts = find_texts(path)
    parts: list[pd.DataFrame] = []
    refused: dict[str, str] = {}
    for video, file in texts:
        try:
            lines = _read_boxed_lines(file, classes)
        except CionError as error:
            if len(texts) == 1:
                raise
            refused[str(file)] = str(error).removeprefix(f"{file}: ")
        else:
            parts.append(lines.assign(video=video))
    if not parts:
        file, reason = next(iter(refused.items()))
        raise CionError(
            f"{path}: none of its {len(texts)} files is MOT text of a tracker; {file}: {reason}"
        )
    return pd.concat(parts, ignore_index=True), refused


def _read_boxed_lines(file: Path, classes: Collection[int]) -> pd.DataFrame:
    """All lines of a file, with boxes as ours, and the reasons of those that are no crops."""
    lines = mot_lines.read(file)
    reasons = mot_lines.reasons_to_refuse(lines, classes)
    usable = lines[reasons == ""]
    is_twice = usable.duplicated(["frame", "id"], keep=False)
    is_twice = is_twice.reindex(lines.index, fill_value=False)
    mot_lines.refuse(file, lines, {"an id is in a frame once": is_twice})

    # Theirs count from 1, ours from 0.
    left = lines["x"] - 1
    top = lines["y"] - 1
    boxed = {
        "frame": lines["frame"].astype(np.int64) - 1,
        "id": lines["id"],
        "x1": left.clip(lower=0.0),
        "y1": top.clip(lower=0.0),
        "x2": left + lines["w"],
        "y2": top + lines["h"],
        "confidence": lines["confidence"],
        "class": lines["class"],
        "reason": reasons,
    }
    return pd.DataFrame(boxed)


def _count_classes(classes: pd.Series) -> dict[int, int]:
    told = classes[classes != mot_lines.UNTOLD].astype(int)
    counts = told.value_counts().sort_index()
    return {int(number): int(count) for number, count in counts.items()}


def _describe_reasons(reasons: pd.Series) -> str:
    """How many lines are no crops for each reason, and what to do about classes."""
    counts = reasons.value_counts()
    described = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    if not reasons.str.startswith("class ").any():
        return described
    return f"{described}; name the classes of people with --class, such as --class 1"


def find_texts(path: Path | str) -> list[tuple[str, Path]]:
    """Find the files of MOT text, and the video that each is of.

    Args:
        path: a file or a folder; see `read`.

    Returns:
        Video and file, sorted by name.

    Raises:
        CionError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return [(_name_video(path), path)]
    names = [name for name in shared.files(path) if name.lower().endswith(".txt")]
    texts = [PurePosixPath(name) for name in names]
    if not texts:
        raise CionError(f"{path}: no MOT text in it; {VALID}")

    # Texts are sorted, so of one sequence gt/gt.txt comes after det/det.txt and replaces it.
    sequences = {str(text.parents[1]): text for text in texts if _is_of_sequence(text)}
    if not sequences:
        return [(str(text.with_suffix("")), path / text) for text in texts]
    own_name = path.resolve().name
    return [
        (own_name if sequence == "." else sequence, path / text)
        for sequence, text in sequences.items()
    ]


def _name_video(file: Path) -> str:
    """The video that a single file is of: its sequence, or what the file is called."""
    whole = PurePosixPath(file.resolve())
    if _is_of_sequence(whole):
        return whole.parents[1].name
    return file.stem


def _is_of_sequence(text: PurePosixPath) -> bool:
    folder_and_file = tuple(part.lower() for part in text.parts[-2:])
    return folder_and_file in SEQUENCE_FILES


def write(folder: Path | str, crops: pd.DataFrame, identities: pd.DataFrame) -> list[Path]:
    """Write one VIDEO.txt per video, id = identity.

    A crop without an identity is left out, and a video without any has an empty file. MOT has one
    box per id and frame: of several (a duplicate detection) the most confident is written. Boxes
    are rounded to a thousandth of a pixel.

    Args:
        folder: where.
        crops: crop, video, frame (from 0), x1 y1 x2 y2 (pixels), confidence.
        identities: tables.Identities.

    Returns:
        The files.

    Raises:
        CionError: the crops have no boxes, or the name of a video can name no file.
    """
    absent = [name for name in WRITTEN if name not in crops]
    if absent:
        raise CionError(
            f"{folder}: MOT text needs boxes; the crops have no column {', '.join(absent)}"
        )
    boxes = _choose_boxes(crops[list(WRITTEN)], identities)
    lines = _format_lines(boxes)
    rows_of_video = boxes.groupby("video").indices
    written: list[Path] = []
    for video in sorted(crops["video"].unique()):
        file = _place_of_video(folder, video)
        rows = rows_of_video.get(video, [])
        with work.atomic(file) as temporary:
            lines.iloc[rows].to_csv(temporary, header=False, index=False)
        written.append(file)
    return written


def _choose_boxes(crops: pd.DataFrame, identities: pd.DataFrame) -> pd.DataFrame:
    """The most confident crop of each identity in each frame, ordered by frame and identity."""
    named = crops.merge(identities[["crop", "identity"]], on="crop")
    order = {"frame": True, "identity": True, "confidence": False, "crop": True}
    named = named.sort_values(list(order), ascending=list(order.values()))
    return named.drop_duplicates(["video", "frame", "identity"])


def _format_lines(boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes as columns of MOT text, which counts from 1."""
    width = boxes["x2"] - boxes["x1"]
    height = boxes["y2"] - boxes["y1"]
    columns = {
        "frame": boxes["frame"] + 1,
        "id": boxes["identity"],
        "x": (boxes["x1"] + 1).round(3),
        "y": (boxes["y1"] + 1).round(3),
        "w": width.round(3),
        "h": height.round(3),
        "confidence": boxes["confidence"],
        # World coordinates, which nobody knows here.
        "x3": -1,
        "y3": -1,
        "z3": -1,
    }
    return pd.DataFrame(columns)


def _place_of_video(folder: Path | str, video: str) -> Path:
    """FOLDER/VIDEO.txt; CionError where that would lie elsewhere."""
    place = PurePosixPath(video)
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise CionError(f"video {video!r}: cannot name a file below {folder}")
    return Path(folder) / f"{video}.txt"
