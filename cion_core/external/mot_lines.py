"""The lines of one file of MOT-challenge text, checked, and sorted by what they are.

Of a line these columns are read, whatever separates them: frame, id, x, y, w, h, conf, class; the
class may be missing. Ground truths have it from MOT16 on, and VisDrone's annotations in the same
place.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.errors import CionError
from cion_core.external.shared import SHOWN, why_no_text

NUMBERS = ("frame", "id", "x", "y", "w", "h", "confidence")
COLUMNS = (*NUMBERS, "class")
EXACT = 2**53  # whole numbers beyond this are no longer told apart when read as floats
PEDESTRIAN = 1  # in MOT16, MOT17, MOT20 and VisDrone
UNTOLD = -1  # the class of a tracker's results, which have -1 or nothing there
LOOKED_AT = 10  # lines by which it is found what separates numbers
VALID = "a line is frame, id, x, y, w, h, conf, separated by commas, semicolons, tabs or spaces"


def read(path: Path) -> pd.DataFrame:
    """The lines of a file as numbers; blank lines are left out.

    Args:
        path: the file.

    Returns:
        COLUMNS as float64; `class` is UNTOLD where the file has none. Its index is the line's
        number in the file, from 0.

    Raises:
        CionError: it is no MOT text, or names lines that are wrong: not these numbers, frames below
            1, ids that are not whole.
    """
    lines = _fields(path)
    lines = lines[~_blank(path, lines)]
    numbers = lines.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    numbers["class"] = _classes(numbers["class"])
    finite = np.isfinite(numbers[list(NUMBERS)]).all(axis=1)
    wrong = {
        f"{VALID}, all numbers": ~finite,
        "frames are whole numbers from 1": finite & ~_whole(numbers["frame"], 1),
        "ids are whole numbers": finite & (numbers["id"] >= 0) & ~_whole(numbers["id"], 0),
    }
    refuse(path, lines, wrong)
    return numbers


def refuse(path: Path, lines: pd.DataFrame, wrong: dict[str, pd.Series]) -> None:
    """Raise CionError if lines are wrong.

    Args:
        path: the file, for the message.
        lines: its lines, to show the first.
        wrong: what should be, and for which lines it is not (bool, of the index of `lines`).
    """
    found = [
        f"  {what}: {int(rows.sum())} lines, first "
        + "; ".join(_shown(lines, row) for row in lines.index[rows][:SHOWN])
        for what, rows in wrong.items()
        if rows.any()
    ]
    if found:
        raise CionError(f"{path}: not the MOT text of a tracker\n" + "\n".join(found))


def no_crops(numbers: pd.DataFrame, classes: Collection[int]) -> pd.Series:
    """Why lines are no crops of people; '' for those that are.

    Args:
        numbers: from `read`.
        classes: the numbers of people in the column `class`. A file in which all lines are of class
            0 tells no classes.
    """
    told = set(numbers["class"]) - {UNTOLD}
    people = numbers["class"].isin(classes) | (numbers["class"] == UNTOLD)
    reason = pd.Series("", numbers.index)
    # The later of two reasons stands, so the most telling comes last.
    outside = (numbers["x"] + numbers["w"] <= 1) | (numbers["y"] + numbers["h"] <= 1)
    reason[outside | (numbers["w"] <= 0) | (numbers["h"] <= 0)] = "box without area"
    reason[numbers["id"] < 0] = "id below 0, a detection that was not tracked"
    reason[numbers["confidence"] == 0] = "confidence 0"  # MOT's mark for "not to be considered"
    if told != {0}:
        reason[~people] = "class " + numbers["class"][~people].astype(int).astype(str)
    return reason


def _fields(path: Path) -> pd.DataFrame:
    """The first COLUMNS of each line, as they stand there."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            beginning = list(islice((line for line in file if line.strip()), LOOKED_AT))
    except UnicodeDecodeError:
        raise CionError(f"{path}: not MOT text ({why_no_text(path)}); {VALID}") from None
    except OSError as error:
        raise CionError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    if beginning and "\0" in beginning[0]:
        raise CionError(f"{path}: not MOT text (it is UTF-16 text, or none; save it as UTF-8)")
    if not beginning:  # a video in which nobody was seen
        return pd.DataFrame(columns=COLUMNS, dtype=np.float64)
    # The line of most parts, since the first may be a remark or cut short: then it alone is wrong.
    fullest = max(beginning, key=lambda line: sum(map(line.count, ";,\t ")))
    separator = next((mark for mark in (";", ",", "\t") if mark in fullest), None)
    parts = fullest.rstrip("\r\n").split(separator) if separator else fullest.split()
    columns = COLUMNS[: len(parts)]
    try:
        lines = pd.read_csv(
            path, header=None, names=columns, usecols=range(len(columns)), skip_blank_lines=False,
            skipinitialspace=True, quoting=csv.QUOTE_NONE, encoding="utf-8-sig", low_memory=False,
            sep=separator or r"\s+",
            decimal="," if separator == ";" and "," in fullest else ".",
        )  # fmt: skip
    except UnicodeDecodeError:
        raise CionError(f"{path}: not MOT text ({why_no_text(path)}); {VALID}") from None
    except pd.errors.ParserError as error:
        raise CionError(f"{path}: not MOT text ({error}); {VALID}") from None
    return lines.reindex(columns=list(COLUMNS))


def _blank(path: Path, lines: pd.DataFrame) -> np.ndarray:
    """Which lines hold nothing; bool [n]. One that holds something behind our columns is not."""
    blank = lines.isna().all(axis=1).to_numpy().copy()
    if blank.any():
        with open(path, encoding="utf-8-sig") as file:
            for row, text in enumerate(islice(file, len(blank))):
                blank[row] &= not text.strip(" ,;\t\r\n")
    return blank


def _classes(values: pd.Series) -> pd.Series:
    """Take the column behind the confidence for classes, unless it holds something else.

    Returns:
        The classes; all UNTOLD where it holds world coordinates, say.
    """
    told = values.dropna()
    if not _whole(told, UNTOLD).all():
        return pd.Series(float(UNTOLD), values.index)
    return values.fillna(UNTOLD)


def _whole(values: pd.Series, least: int) -> pd.Series:
    return (values % 1 == 0) & (values >= least) & (values <= EXACT)


def _shown(lines: pd.DataFrame, row: int) -> str:
    fields = ["" if pd.isna(value) else f"{value}" for value in lines.loc[row, list(NUMBERS)]]
    return f"{row + 1} ({', '.join(fields)})"
