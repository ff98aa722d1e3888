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
from cion_core.external.shared import SHOWN, unreadable, why_no_text

NUMBERS = ("frame", "id", "x", "y", "w", "h", "confidence")
COLUMNS = (*NUMBERS, "class")
EXACT = 2**53  # whole numbers beyond this are no longer told apart when read as floats
PEDESTRIAN = 1  # in MOT16, MOT17, MOT20 and VisDrone
UNTOLD = -1  # the class of a tracker's results, which have -1 or nothing there
LOOKED_AT = 10  # lines by which it is found what separates numbers
VALID = "a line is frame, id, x, y, w, h, conf, separated by commas, semicolons, tabs or spaces"


def read(path: Path) -> pd.DataFrame:
    """Read the lines of a file as numbers; blank lines are left out.

    Args:
        path: the file.

    Returns:
        COLUMNS as float64; `class` is UNTOLD where the file has none. Its index is the line's
        number in the file, from 0.

    Raises:
        CionError: it is no MOT text, or names lines that are wrong: not these numbers, frames below
            1, ids that are not whole.
    """
    fields = _read_fields(path)
    fields = fields[~_find_blank(path, fields)]
    numbers = fields.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    numbers["class"] = _take_for_classes(numbers["class"])

    is_finite = np.isfinite(numbers[list(NUMBERS)]).all(axis=1)
    is_tracked = numbers["id"] >= 0
    has_frame = _are_whole(numbers["frame"], least=1)
    has_whole_id = _are_whole(numbers["id"], least=0)
    wrong = {
        f"{VALID}, all numbers": ~is_finite,
        "frames are whole numbers from 1": is_finite & ~has_frame,
        "ids are whole numbers": is_finite & is_tracked & ~has_whole_id,
    }
    refuse(path, fields, wrong)
    return numbers


def refuse(path: Path, lines: pd.DataFrame, wrong: dict[str, pd.Series]) -> None:
    """Raise an error if lines are wrong.

    Args:
        path: the file, for the message.
        lines: its lines, to show the first.
        wrong: what should be, and for which lines it is not (bool, of the index of `lines`).

    Raises:
        CionError: some are; it shows the first of each kind.
    """
    complaints = [
        _describe_wrong(should_be, lines[is_wrong])
        for should_be, is_wrong in wrong.items()
        if is_wrong.any()
    ]
    if complaints:
        raise CionError(f"{path}: not the MOT text of a tracker\n" + "\n".join(complaints))


def _describe_wrong(should_be: str, lines: pd.DataFrame) -> str:
    first = "; ".join(_show_line(lines, row) for row in lines.index[:SHOWN])
    return f"  {should_be}: {len(lines)} lines, first {first}"


def _show_line(lines: pd.DataFrame, row: int) -> str:
    values = lines.loc[row, list(NUMBERS)]
    fields = ["" if pd.isna(value) else f"{value}" for value in values]
    return f"{row + 1} ({', '.join(fields)})"


def reasons_to_refuse(numbers: pd.DataFrame, classes: Collection[int]) -> pd.Series:
    """Say why lines are no crops of people.

    Args:
        numbers: from `read`.
        classes: the numbers of people in the column `class`. A file in which all lines are of class
            0 tells no classes.

    Returns:
        The reason for each line; '' for those that are crops.
    """
    has_no_size = (numbers["w"] <= 0) | (numbers["h"] <= 0)
    is_left_of_frame = numbers["x"] + numbers["w"] <= 1
    is_above_frame = numbers["y"] + numbers["h"] <= 1
    line_class = numbers["class"]
    is_other_class = ~line_class.isin(classes) & (line_class != UNTOLD)
    told = set(line_class) - {UNTOLD}

    # The later of two reasons stands, so the most telling comes last.
    reasons = pd.Series("", numbers.index)
    reasons[has_no_size | is_left_of_frame | is_above_frame] = "box without area"
    reasons[numbers["id"] < 0] = "id below 0, a detection that was not tracked"
    reasons[numbers["confidence"] == 0] = "confidence 0"  # MOT's mark for "not to be considered"
    if told != {0}:
        reasons[is_other_class] = "class " + line_class[is_other_class].astype(int).astype(str)
    return reasons


def _read_fields(path: Path) -> pd.DataFrame:
    """The first COLUMNS of each line, as they stand there."""
    beginning = _read_beginning(path)
    if not beginning:  # a video in which nobody was seen
        return pd.DataFrame(columns=COLUMNS, dtype=np.float64)
    if "\0" in beginning[0]:
        raise CionError(f"{path}: not MOT text (it is UTF-16 text, or none; save it as UTF-8)")

    # The line of most parts, since the first may be a remark or cut short: then it alone is wrong.
    fullest = max(beginning, key=_count_separators)
    separator = next((mark for mark in (";", ",", "\t") if mark in fullest), None)
    parts = fullest.rstrip("\r\n").split(separator) if separator else fullest.split()
    columns = COLUMNS[: len(parts)]
    has_decimal_commas = separator == ";" and "," in fullest
    try:
        fields = pd.read_csv(
            path,
            header=None,
            names=columns,
            usecols=range(len(columns)),
            skip_blank_lines=False,
            skipinitialspace=True,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8-sig",
            low_memory=False,
            sep=separator or r"\s+",
            decimal="," if has_decimal_commas else ".",
        )
    except UnicodeDecodeError:
        raise CionError(f"{path}: not MOT text ({why_no_text(path)}); {VALID}") from None
    except pd.errors.ParserError as error:
        raise CionError(f"{path}: not MOT text ({error}); {VALID}") from None
    return fields.reindex(columns=list(COLUMNS))


def _read_beginning(path: Path) -> list[str]:
    """The first lines of a file that hold something."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            filled = (line for line in file if line.strip())
            return list(islice(filled, LOOKED_AT))
    except UnicodeDecodeError:
        raise CionError(f"{path}: not MOT text ({why_no_text(path)}); {VALID}") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _count_separators(line: str) -> int:
    return sum(line.count(mark) for mark in ";,\t ")


def _find_blank(path: Path, fields: pd.DataFrame) -> np.ndarray:
    """Which lines hold nothing; bool [n]. One that holds something behind our columns is not."""
    is_blank = fields.isna().all(axis=1).to_numpy().copy()
    if is_blank.any():
        with open(path, encoding="utf-8-sig") as file:
            for row, text in enumerate(islice(file, len(is_blank))):
                is_blank[row] &= not text.strip(" ,;\t\r\n")
    return is_blank


def _take_for_classes(values: pd.Series) -> pd.Series:
    """Take the column behind the confidence for classes, unless it holds something else.

    Returns:
        The classes; all UNTOLD where it holds world coordinates, say.
    """
    told = values.dropna()
    if not _are_whole(told, least=UNTOLD).all():
        return pd.Series(float(UNTOLD), values.index)
    return values.fillna(UNTOLD)


def _are_whole(values: pd.Series, least: int) -> pd.Series:
    """Which values are whole numbers, not below `least`, that floats tell apart."""
    has_no_fraction = values % 1 == 0
    return has_no_fraction & (values >= least) & (values <= EXACT)
