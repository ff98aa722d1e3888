"""MOT-challenge text: the results of a tracker in, identities out.

A line is frame, id, x, y, w, h, conf and whatever follows, which is ignored; frames and boxes count from 1
(motchallenge.net/instructions; TrackEval's docs/MOTChallenge-Official).
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cion_core import work
from cion_core.errors import CionError
from cion_core.external import shared
from cion_core.external.shared import SHOWN

COLUMNS = ("frame", "id", "x", "y", "w", "h", "confidence")
BOX = ("x1", "y1", "x2", "y2")
EXACT = 2**53  # whole numbers beyond this are no longer told apart when read as floats


def read(path: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """MOT-challenge text as (crops, set aside).

    `path`: one file of one video, or a folder: MOT's SEQUENCE/gt/gt.txt (else SEQUENCE/det/det.txt), where the video is
    the sequence, or a tracker's results, one VIDEO.txt each, at any depth.

    crops: crop (number of the line in the input, blank lines not counted, files in order of their names), video, frame
    (from 0), tracklet, x1 y1 x2 y2 (pixels from 0, clipped where the frame begins), confidence.
    set aside: crop and reason of the lines that are no crops: those whose confidence is 0, MOT's mark for "not to be
    considered", and boxes with no area once they are clipped.
    Raises CionError naming file and lines: not these numbers, frames below 1, ids below 0 (detections that were not
    tracked), an id twice in one frame.
    """
    parts = [_lines(file).assign(video=video) for video, file in videos(path)]
    lines = pd.concat(parts, ignore_index=True)
    table = pd.DataFrame({
        "crop": np.arange(len(lines)),
        "video": lines.video,
        "frame": lines.frame.astype(np.int64) - 1,
        "tracklet": shared.numbered(lines.video, lines.id.astype(np.int64)),
        "x1": (lines.x - 1).clip(lower=0.0),
        "y1": (lines.y - 1).clip(lower=0.0),
        "x2": lines.x - 1 + lines.w,
        "y2": lines.y - 1 + lines.h,
        "confidence": lines.confidence,
    })  # fmt: skip
    ignored = table.confidence == 0
    empty = (table.x2 <= table.x1) | (table.y2 <= table.y1) | (lines.w <= 0) | (lines.h <= 0)
    reason = np.where(ignored, "confidence 0", "box without area")
    aside = ignored | empty
    return table[~aside].reset_index(drop=True), pd.DataFrame({"crop": table.crop[aside], "reason": reason[aside]})


def videos(path: Path | str) -> list[tuple[str, Path]]:
    """(video, file) of each MOT text that `path` is or holds, by name; see `read`. CionError where there is none."""
    path = Path(path)
    if path.is_file():
        whole = PurePosixPath(path.resolve())
        return [(whole.parents[1].name if _of_sequence(whole) else path.stem, path)]
    texts = [PurePosixPath(name) for name in shared.files(path) if name.endswith(".txt")]
    sequences = {str(text.parents[1]): text for text in texts if _of_sequence(text)}  # gt comes last, and wins
    if sequences:
        return [(path.resolve().name if name == "." else name, path / text) for name, text in sequences.items()]
    if not texts:
        raise CionError(f"{path}: no MOT text in it; valid: SEQUENCE/gt/gt.txt, or a VIDEO.txt per video")
    return [(str(text.with_suffix("")), path / text) for text in texts]


def _of_sequence(text: PurePosixPath) -> bool:
    return text.parts[-2:] in (("gt", "gt.txt"), ("det", "det.txt"))


def _lines(path: Path) -> pd.DataFrame:
    """The lines of one file as float64 COLUMNS; checked."""
    try:
        lines = pd.read_csv(
            path, header=None, names=COLUMNS, usecols=range(len(COLUMNS)), skip_blank_lines=False,
            skipinitialspace=True, quoting=csv.QUOTE_NONE, encoding="utf-8-sig",
        )  # fmt: skip
    except pd.errors.EmptyDataError:  # a video in which nobody was seen
        return pd.DataFrame(columns=COLUMNS, dtype=np.float64)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise CionError(f"{path}: not MOT text ({error}); a line is frame, id, x, y, w, h, conf") from None
    lines = lines[~lines.isna().all(axis=1)]
    numbers = lines.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    finite = np.isfinite(numbers).all(axis=1)
    twice = numbers[numbers.confidence != 0].duplicated(["frame", "id"], keep=False)
    wrong = {
        "a line is frame, id, x, y, w, h, conf, all numbers": ~finite,
        "frames are whole numbers from 1": finite & ~_whole(numbers.frame, 1),
        "ids are whole numbers from 0; these boxes are detections that were not tracked": finite & (numbers.id < 0),
        "ids are whole numbers": finite & (numbers.id >= 0) & ~_whole(numbers.id, 0),
        "an id is in a frame once": finite & twice.reindex(lines.index, fill_value=False),
    }
    found = [
        f"  {what}: {int(rows.sum())} lines, first " + "; ".join(_line(lines, row) for row in lines.index[rows][:SHOWN])
        for what, rows in wrong.items()
        if rows.any()
    ]
    if found:
        raise CionError(f"{path}: not the MOT text of a tracker\n" + "\n".join(found))
    return numbers


def _whole(values: pd.Series, least: int) -> pd.Series:
    return (values % 1 == 0) & (values >= least) & (values <= EXACT)


def _line(lines: pd.DataFrame, row: int) -> str:
    return f"{row + 1} ({', '.join('' if pd.isna(value) else f'{value}' for value in lines.loc[row])})"


def write(folder: Path | str, crops: pd.DataFrame, identities: pd.DataFrame) -> list[Path]:
    """Write one VIDEO.txt per video of `crops` into `folder`, id = identity; return the files.

    crops: crop, video, frame (from 0), x1 y1 x2 y2, confidence; identities: tables.Identities. A crop without an
    identity is left out, and a video without any has an empty file. MOT has one box per id and frame: of several (a
    duplicate detection) the most confident is written. Boxes are rounded to a thousandth of a pixel.
    """
    needed = ["crop", "video", "frame", *BOX, "confidence"]
    absent = [name for name in needed if name not in crops]
    if absent:
        raise CionError(f"{folder}: MOT text needs boxes; the crops have no column {', '.join(absent)}")
    named = crops[needed].merge(identities[["crop", "identity"]], on="crop")
    named = named.sort_values(["frame", "identity", "confidence", "crop"], ascending=[True, True, False, True])
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
