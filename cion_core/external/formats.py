"""Tracklets and identities in other people's formats: CION-AL annotations, MOT-challenge text, LUPerson-NL folders.

What is read becomes a crops table (crop, video, frame, tracklet, ...). Its `crop` is the number of the row or image in
the input, from 0: row i of a feature file made in the order of the input belongs to crop i. Tracklets are numbered from
1 over all videos, because an identity is named after one of them and MOT's ids begin at 1.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cion_core import work
from cion_core.errors import CionError

IMAGES = (".jpg", ".jpeg", ".png")
SHOWN = 5
MOT = ("frame", "id", "x", "y", "w", "h", "confidence")
MOT_BOX = ("x1", "y1", "x2", "y2")
EXACT = 2**53  # whole numbers beyond this are no longer told apart when read as floats
LUPERSON_NL = re.compile(r"(\d{6,})_(\d{7,})_\d{2,}\.jpg")
FOLDERS = (
    "valid: LUPerson-NL's COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg (000012_0000345_00.jpg), or for every image "
    "VIDEO/TRACKLET/FRAME.jpg, whose name holds one number"
)


def read_annotations(path: Path | str) -> pd.DataFrame:
    """CION-AL annotations as a table: path (str, relative to the images' root) and identity (int64), in file order.

    The form is that which CION's training script reads: a JSON list of {"file_path": str, "id": int >= 0}; more keys
    are ignored. Raises CionError naming the entry.
    """
    try:
        entries = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise CionError(f"{path}: no such file") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise CionError(f"{path}: not JSON ({error})") from None
    valid = 'a JSON list of {"file_path": "a/b.jpg", "id": 0}'
    if not isinstance(entries, list):
        raise CionError(f"{path}: found {type(entries).__name__}, must be {valid}")
    for i, entry in enumerate(entries):
        name, number = (entry.get(key) if isinstance(entry, dict) else None for key in ("file_path", "id"))
        if not (isinstance(name, str) and name and type(number) is int and 0 <= number < 2**63):
            raise CionError(f"{path}: entry {i} is {json.dumps(entry)[:200]}; must be {valid}, id a whole number >= 0")
    table = pd.DataFrame(
        {"path": [entry["file_path"] for entry in entries], "identity": [entry["id"] for entry in entries]}
    ).astype({"identity": np.int64})
    again = np.flatnonzero(table.path.duplicated(keep=False))
    if len(again):
        raise CionError(f"{path}: entries {again[:SHOWN].tolist()} name the same image, {table.path[again[0]]}")
    return table


def write_annotations(path: Path | str, table: pd.DataFrame) -> None:
    """Write `table` (path, identity) as CION-AL annotations, ordered by identity and then path, as theirs are by id."""
    table = table.sort_values(["identity", "path"])
    pairs = zip(table.path, table.identity, strict=True)
    work.write_json(path, [{"file_path": str(name), "id": int(number)} for name, number in pairs])


def read_mot(path: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """MOT-challenge text as (crops, set aside).

    `path`: one file of one video, or a folder: MOT's SEQUENCE/gt/gt.txt (else SEQUENCE/det/det.txt), where the video is
    the sequence, or a tracker's results, one VIDEO.txt each, at any depth. A line is frame, id, x, y, w, h, conf and
    whatever follows, which is ignored; frames and boxes count from 1 (motchallenge.net/instructions; TrackEval's
    docs/MOTChallenge-Official).

    crops: crop (number of the line in the input, blank lines not counted, files in order of their names), video, frame
    (from 0), tracklet, x1 y1 x2 y2 (pixels from 0, clipped where the frame begins), confidence.
    set aside: crop and reason of the lines that are no crops: those whose confidence is 0, MOT's mark for "not to be
    considered", and boxes with no area once they are clipped.
    Raises CionError naming file and lines: not these numbers, frames below 1, ids below 0 (detections that were not
    tracked), an id twice in one frame.
    """
    parts = [_mot_video(file).assign(video=video) for video, file in mot_files(path)]
    lines = pd.concat(parts, ignore_index=True)
    table = pd.DataFrame({
        "crop": np.arange(len(lines)),
        "video": lines.video,
        "frame": lines.frame.astype(np.int64) - 1,
        "tracklet": _numbered(lines.video, lines.id.astype(np.int64)),
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


def mot_files(path: Path | str) -> list[tuple[str, Path]]:
    """(video, file) of each MOT text that `path` is or holds, by name; see read_mot. CionError where there is none."""
    path = Path(path)
    if path.is_file():
        whole = PurePosixPath(path.resolve())
        return [(whole.parents[1].name if _of_sequence(whole) else path.stem, path)]
    texts = [PurePosixPath(name) for name in files(path) if name.endswith(".txt")]
    sequences = {str(text.parents[1]): text for text in texts if _of_sequence(text)}  # gt comes last, and wins
    if sequences:
        return [(path.resolve().name if name == "." else name, path / text) for name, text in sequences.items()]
    if not texts:
        raise CionError(f"{path}: no MOT text in it; valid: SEQUENCE/gt/gt.txt, or a VIDEO.txt per video")
    return [(str(text.with_suffix("")), path / text) for text in texts]


def _of_sequence(text: PurePosixPath) -> bool:
    return text.parts[-2:] in (("gt", "gt.txt"), ("det", "det.txt"))


def _mot_video(path: Path) -> pd.DataFrame:
    """The lines of one file as float64 columns MOT; checked."""
    try:
        lines = pd.read_csv(
            path, header=None, names=MOT, usecols=range(len(MOT)), skip_blank_lines=False, skipinitialspace=True,
            quoting=csv.QUOTE_NONE, encoding="utf-8-sig",
        )  # fmt: skip
    except pd.errors.EmptyDataError:  # a video in which nobody was seen
        return pd.DataFrame(columns=MOT, dtype=np.float64)
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


def write_mot(folder: Path | str, crops: pd.DataFrame, identities: pd.DataFrame) -> list[Path]:
    """Write one VIDEO.txt per video of `crops` into `folder`, id = identity; return the files.

    crops: crop, video, frame (from 0), x1 y1 x2 y2, confidence; identities: tables.Identities. A crop without an
    identity is left out, and a video without any has an empty file. MOT has one box per id and frame: of several (a
    duplicate detection) the most confident is written. Boxes are rounded to a thousandth of a pixel.
    """
    needed = ["crop", "video", "frame", *MOT_BOX, "confidence"]
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


def read_folders(root: Path | str) -> pd.DataFrame:
    """Images of tracklets in folders as crops: crop, video, frame, tracklet, path (relative to `root`), by path.

    Two layouts. LUPerson-NL's, as its LUP-NL/extract.py writes it (github.com/DengpanFu/LUPerson-NL):
    COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg, numbers of at least 6, 7 and 2 digits; a tracklet is one person of
    one video, the video is the folder. It is taken where every image has such a name. Else the plain one:
    VIDEO/TRACKLET/FRAME.jpg (.jpeg, .png), VIDEO of any depth, the frame being the one number in the name.

    Frames must count through the video: images of two tracklets with one frame are two people seen together. What
    begins with a dot is skipped. Raises CionError naming the images that fit neither layout.
    """
    names = [name for name in files(root) if name.lower().endswith(IMAGES)]
    if not names:
        raise CionError(f"{root}: no images ({', '.join(IMAGES)}) in it; {FOLDERS}")
    rows = [_of_luperson_nl(name) for name in names]
    if None in rows:
        rows = [_of_plain(name) for name in names]
    wrong = [name for name, row in zip(names, rows, strict=True) if row is None]
    if wrong:
        raise CionError(f"{root}: {len(wrong)} of {len(names)} images fit no layout, first {wrong[:SHOWN]}; {FOLDERS}")
    video, tracklet, frame = (list(column) for column in zip(*rows, strict=True))
    return pd.DataFrame({
        "crop": np.arange(len(names)), "video": video, "frame": frame, "tracklet": _numbered(video, tracklet),
        "path": names,
    })  # fmt: skip


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


def _numbered(video: Sequence, tracklet: Sequence) -> np.ndarray:
    """Whole numbers from 1, one per (video, tracklet), in order of first appearance; int64 [N]."""
    pairs = pd.MultiIndex.from_arrays([video, tracklet])
    return pd.factorize(pairs)[0].astype(np.int64) + 1


def files(folder: Path | str) -> list[str]:
    """The files at any depth below `folder`, relative, with "/", sorted; what begins with a dot is skipped."""
    if not Path(folder).is_dir():
        raise CionError(f"{folder}: no such file or folder")
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        at = PurePosixPath(Path(here).relative_to(folder))
        found += [str(at / name) for name in names if not name.startswith(".")]
    return sorted(found)
