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
    """MOT-challenge text as crops.

    Args:
        path: one file of one video, or a folder: MOT's SEQUENCE/gt/gt.txt (else
            SEQUENCE/det/det.txt), where the video is the sequence, or a tracker's results, one
            VIDEO.txt each, at any depth.
        classes: the numbers of people in the eighth column, where it tells a class.

    Raises:
        CionError: no file can be read, an id is twice in one frame, or no line is a crop; it names
            file and lines.
    """
    parts, refused = [], {}
    found = videos(path)
    for video, file in found:
        try:
            parts.append(_crops(file, classes).assign(video=video))
        except CionError as error:
            if len(found) == 1:
                raise
            refused[str(file)] = str(error).removeprefix(f"{file}: ")
    if not parts:
        file, reason = next(iter(refused.items()))
        raise CionError(
            f"{path}: none of its {len(found)} files is MOT text of a tracker; {file}: {reason}"
        )
    lines = pd.concat(parts, ignore_index=True)
    used = lines["reason"] == ""
    if len(lines) and not used.any():
        raise CionError(f"{path}: no line of it is a crop: {_counted(lines)}")
    lines["crop"] = np.arange(len(lines))
    kept = lines[used].reset_index(drop=True)
    kept["tracklet"] = shared.numbered(kept["video"], kept["id"].astype(np.int64))
    counts = (
        lines["class"][lines["class"] != mot_lines.UNTOLD].astype(int).value_counts().sort_index()
    )
    return MotText(
        crops=kept[list(CROP)],
        set_aside=lines[["crop", "reason"]][~used],
        classes={int(number): int(count) for number, count in counts.items()},
        refused=refused,
    )


def _crops(file: Path, classes: Collection[int]) -> pd.DataFrame:
    """The lines of a file with boxes as ours, and the reasons of those that are no crops."""
    lines = mot_lines.read(file)
    reason = mot_lines.no_crops(lines, classes)
    twice = (
        lines[reason == ""]
        .duplicated(["frame", "id"], keep=False)
        .reindex(lines.index, fill_value=False)
    )
    mot_lines.refuse(file, lines, {"an id is in a frame once": twice})
    return pd.DataFrame({
        "frame": lines["frame"].astype(np.int64) - 1,
        "id": lines["id"],
        "x1": (lines["x"] - 1).clip(lower=0.0),
        "y1": (lines["y"] - 1).clip(lower=0.0),
        "x2": lines["x"] - 1 + lines["w"],
        "y2": lines["y"] - 1 + lines["h"],
        "confidence": lines["confidence"],
        "class": lines["class"],
        "reason": reason,
    })  # fmt: skip


def _counted(lines: pd.DataFrame) -> str:
    """What lines are, for the message that none is a crop."""
    counts = ", ".join(
        f"{reason} {count}" for reason, count in lines["reason"].value_counts().items()
    )
    classes = lines["reason"].str.startswith("class ").any()
    return counts + (
        "; name the classes of people with --class, such as --class 1" if classes else ""
    )


def videos(path: Path | str) -> list[tuple[str, Path]]:
    """(video, file) of each MOT text that `path` is or holds, by name; see `read`.

    CionError where there is none.
    """
    path = Path(path)
    if path.is_file():
        whole = PurePosixPath(path.resolve())
        return [(whole.parents[1].name if _of_sequence(whole) else path.stem, path)]
    texts = [PurePosixPath(name) for name in shared.files(path) if name.lower().endswith(".txt")]
    sequences = {
        str(text.parents[1]): text for text in texts if _of_sequence(text)
    }  # gt comes last, and wins
    if sequences:
        return [
            (path.resolve().name if name == "." else name, path / text)
            for name, text in sequences.items()
        ]
    if not texts:
        raise CionError(
            f"{path}: no MOT text in it; valid: SEQUENCE/gt/gt.txt, or a VIDEO.txt per video"
        )
    return [(str(text.with_suffix("")), path / text) for text in texts]


def _of_sequence(text: PurePosixPath) -> bool:
    return tuple(part.lower() for part in text.parts[-2:]) in (("gt", "gt.txt"), ("det", "det.txt"))


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
    needed = ["crop", "video", "frame", *BOX, "confidence"]
    absent = [name for name in needed if name not in crops]
    if absent:
        raise CionError(
            f"{folder}: MOT text needs boxes; the crops have no column {', '.join(absent)}"
        )
    named = crops[needed].merge(identities[["crop", "identity"]], on="crop")
    named = named.sort_values(
        ["frame", "identity", "confidence", "crop"], ascending=[True, True, False, True]
    )
    named = named.drop_duplicates(["video", "frame", "identity"])
    text = pd.DataFrame({
        "frame": named.frame + 1, "id": named.identity,
        "x": (named.x1 + 1).round(3), "y": (named.y1 + 1).round(3),
        "w": (named.x2 - named.x1).round(3), "h": (named.y2 - named.y1).round(3),
        "confidence": named.confidence, "x3": -1, "y3": -1, "z3": -1,
    })  # fmt: skip
    rows, written = named.groupby("video").indices, []
    for video in sorted(crops.video.unique()):
        place = PurePosixPath(video)
        if place.is_absolute() or ".." in place.parts or not place.name:
            raise CionError(f"video {video!r}: cannot name a file below {folder}")
        written.append(Path(folder) / f"{video}.txt")
        with work.atomic(written[-1]) as temporary:
            text.iloc[rows.get(video, [])].to_csv(temporary, header=False, index=False)
    return written
