"""A user's own table of crops, .parquet or .csv."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cion_core import tables
from cion_core.errors import CionError
from cion_core.external.shared import SHOWN, why_no_text

SUFFIXES = (".parquet", ".csv", ".tsv")  # in any case
SEPARATORS = (",", ";", "\t", "|")
NO_TEXT_AT_ALL = "it is UTF-16 text, or none; save it as UTF-8"
WHOLE = ("crop", "frame", "tracklet")
BOX = ("x1", "y1", "x2", "y2")


class Crops(tables.Table):
    """A user's crops table. Boxes are optional, as is each crop's own image."""

    crop: Series[int] = pa.Field(unique=True, ge=0)
    video: Series[str]
    frame: Series[int] = pa.Field(ge=0)
    tracklet: Series[int] = pa.Field(ge=0)
    x1: Optional[Series[float]]  # noqa: UP045 - how pandera spells a column that may be absent
    y1: Optional[Series[float]]  # noqa: UP045
    x2: Optional[Series[float]]  # noqa: UP045
    y2: Optional[Series[float]]  # noqa: UP045
    path: Optional[Series[str]] = pa.Field(unique=True)  # noqa: UP045

    @pa.dataframe_check(error="video must not be empty")
    def video_has_a_name(cls, df: pd.DataFrame) -> pd.Series:
        return df.video != ""

    @pa.dataframe_check(error="x1 < x2 and y1 < y2, none of them infinite")
    def box_has_area(cls, df: pd.DataFrame) -> pd.Series:
        if not set(BOX) <= set(df.columns):
            return pd.Series(True, df.index)
        finite = np.isfinite(df[list(BOX)]).all(axis=1)
        return finite & (df.x1 < df.x2) & (df.y1 < df.y2)


def read(path: Path) -> pd.DataFrame:
    """Read a user's table of crops, and check it.

    More columns are kept. Names of columns may be in capitals, with blanks around.

    Args:
        path: .parquet, .csv or .tsv.

    Raises:
        CionError: it is no such table; column and rows are named.
    """
    crops = tables.read(tables.Table, path) if path.suffix.lower() == ".parquet" else _text(path)
    crops = crops.rename(columns=_plain_names(crops.columns))
    for name in crops.columns.intersection(WHOLE):
        _refuse_fractions(path, name, crops[name])
    absent = [name for name in BOX if name not in crops]
    if 0 < len(absent) < len(BOX):
        raise CionError(
            f"{path}: no column {', '.join(absent)}; a box is {', '.join(BOX)}, or none of them"
        )
    return tables.validate(Crops, crops, str(path))


def _plain_names(columns: pd.Index) -> dict[str, str]:
    """Of columns that are ours but for capitals and blanks, what we call them.

    Example:
        ["Crop", " video", "frame"] gives {"Crop": "crop", " video": "video"}.
    """
    ours = {*Crops.to_schema().columns, "confidence", "sharpness"}
    plain = {name: name.strip().lower() for name in columns if isinstance(name, str)}
    return {name: own for name, own in plain.items() if own in ours and own not in columns}


def _refuse_fractions(path: Path, name: str, values: pd.Series) -> None:
    """Raise CionError where coercion to whole numbers would make something else of values."""
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        found = ", ".join(map(str, values.iloc[:SHOWN]))
        raise CionError(f"{path}: column {name}: must be whole numbers, found {found}")
    if pd.api.types.is_float_dtype(values):  # coercion would cut 1.5 down to 1
        rows = np.flatnonzero(values % 1 != 0)[:SHOWN]
        if len(rows):
            raise CionError(
                f"{path}: column {name}: must be whole numbers, rows {rows.tolist()}, "
                f"found {values.iloc[rows].tolist()}"
            )


def _text(path: Path) -> pd.DataFrame:
    """A table of text, whose first line tells by what its columns are separated.

    A semicolon comes with decimal commas, as programs write it in countries where those are usual.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            told = file.readline()
            # Excel's own way to tell what separates columns.
            ahead = 1 if told.lower().startswith("sep=") else 0
            header = file.readline() if ahead else told
            second = file.readline()
        if "\0" in told:
            raise CionError(f"{path}: not a CSV table: {NO_TEXT_AT_ALL}")
        separator = max(SEPARATORS, key=header.count)
        _refuse_twice(path, header, separator)
        return pd.read_csv(
            path,
            dtype={"video": str, "path": str},
            keep_default_na=False,
            skiprows=ahead,
            sep=separator,
            decimal="," if separator == ";" and "," in second else ".",
            encoding="utf-8-sig",
            low_memory=False,
        )
    except OSError as error:
        raise CionError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not a CSV table: {why_no_text(path)}") from None
    except pd.errors.EmptyDataError:
        raise CionError(
            f"{path}: it is empty; valid is a table with a line of names first"
        ) from None
    except (ValueError, pd.errors.ParserError) as error:
        raise CionError(f"{path}: not a CSV table: {_in_words(str(error))}") from None


def _refuse_twice(path: Path, header: str, separator: str) -> None:
    """Raise CionError where two columns have one of our names: pandas would go by the first."""
    names = [name.strip(' "\n\r').lower() for name in header.split(separator)]
    twice = [name for name in Crops.to_schema().columns if names.count(name) > 1]
    if twice:
        raise CionError(f"{path}: column {', '.join(twice)} is there twice")


def _in_words(message: str) -> str:
    """What pandas says of a text that is no table, in our words."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
        return f"line {found[2]} has {found[3]} columns, and the first line names {found[1]}"
    if found := re.search(r"EOF inside string starting at row (\d+)", message):
        return f"a quotation mark is open from line {int(found[1]) + 1} to the end"
    return message.strip().partition("\n")[0]
