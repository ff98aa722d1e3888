"""A user's own table of crops, .parquet or .csv."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cion_core import tables
from cion_core.errors import CionError
from cion_core.external.shared import SHOWN, unreadable, why_no_text

SUFFIXES = (".parquet", ".csv", ".tsv")  # in any case
SEPARATORS = (",", ";", "\t", "|")
NO_TEXT_AT_ALL = "it is UTF-16 text, or none; save it as UTF-8"
WHOLE = ("crop", "frame", "tracklet")  # columns of whole numbers
BOX = ("x1", "y1", "x2", "y2")
OPTIONAL = ("confidence", "sharpness")  # columns that are used where a table has them


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
        is_finite = np.isfinite(df[list(BOX)]).all(axis=1)
        has_width = df.x1 < df.x2
        has_height = df.y1 < df.y2
        return is_finite & has_width & has_height


def read(path: Path) -> pd.DataFrame:
    """Read a user's table of crops, and check it.

    More columns are kept. Names of columns may be in capitals, with blanks around.

    Args:
        path: .parquet, .csv or .tsv.

    Returns:
        Crops.

    Raises:
        CionError: it is no such table; column and rows are named.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    table = tables.read(tables.Table, path) if is_parquet else _read_text(path)
    crops = table.rename(columns=_plain_names(table.columns))
    for name in crops.columns.intersection(WHOLE):
        _refuse_fractions(path, name, crops[name])
    absent = [name for name in BOX if name not in crops]
    if 0 < len(absent) < len(BOX):
        raise CionError(
            f"{path}: no column {', '.join(absent)}; a box is {', '.join(BOX)}, or none of them"
        )
    return tables.validate(Crops, crops, str(path))


def _plain_names(columns: pd.Index) -> dict[str, str]:
    """Our names of the columns that are ours but for capitals and blanks.

    Example:
        ["Crop", " video", "frame"] gives {"Crop": "crop", " video": "video"}.
    """
    ours = {*Crops.to_schema().columns, *OPTIONAL}
    renamed: dict[str, str] = {}
    for name in columns:
        if not isinstance(name, str):
            continue
        plain = name.strip().lower()
        if plain in ours and plain not in columns:
            renamed[name] = plain
    return renamed


def _refuse_fractions(path: Path, name: str, values: pd.Series) -> None:
    """Raise CionError if a column of whole numbers holds fractions, booleans or dates."""
    types = pd.api.types
    if types.is_bool_dtype(values) or types.is_datetime64_any_dtype(values):
        found = ", ".join(map(str, values.iloc[:SHOWN]))
        raise CionError(f"{path}: column {name}: must be whole numbers, found {found}")
    if not types.is_float_dtype(values):
        return
    # Unasked, 1.5 would be cut down to 1.
    rows = np.flatnonzero(values % 1 != 0)[:SHOWN]
    if len(rows):
        raise CionError(
            f"{path}: column {name}: must be whole numbers, rows {rows.tolist()}, "
            f"found {values.iloc[rows].tolist()}"
        )


@dataclass(frozen=True)
class _Form:
    """How a table of text is written.

    Attributes:
        header: the line that names the columns.
        lines_before: how many lines come before it.
        separator: what separates columns.
        decimal: the decimal point, or a comma.
    """

    header: str
    lines_before: int
    separator: str
    decimal: str


def _read_text(path: Path) -> pd.DataFrame:
    """Read a table of text; CionError says why it is none."""
    try:
        form = _find_form(path)
        _refuse_twice(path, form)
        return pd.read_csv(
            path,
            dtype={"video": str, "path": str},
            keep_default_na=False,
            skiprows=form.lines_before,
            sep=form.separator,
            decimal=form.decimal,
            encoding="utf-8-sig",
            low_memory=False,
        )
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not a CSV table: {why_no_text(path)}") from None
    except pd.errors.EmptyDataError:
        raise CionError(
            f"{path}: it is empty; valid is a table with a line of names first"
        ) from None
    except (ValueError, pd.errors.ParserError) as error:
        raise CionError(f"{path}: not a CSV table: {_explain(str(error))}") from None


def _find_form(path: Path) -> _Form:
    """Find out by its first lines how a table of text is written."""
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline()
        # Excel's own way to tell what separates columns.
        lines_before = 1 if first.lower().startswith("sep=") else 0
        header = file.readline() if lines_before else first
        first_row = file.readline()
    if "\0" in first:
        raise CionError(f"{path}: not a CSV table: {NO_TEXT_AT_ALL}")
    separator = max(SEPARATORS, key=header.count)
    # A semicolon comes with decimal commas, as programs write it where those are usual.
    has_decimal_commas = separator == ";" and "," in first_row
    return _Form(header, lines_before, separator, decimal="," if has_decimal_commas else ".")


def _refuse_twice(path: Path, form: _Form) -> None:
    """Raise CionError where two columns have one of our names: pandas would go by the first."""
    names = [name.strip(' "\n\r').lower() for name in form.header.split(form.separator)]
    twice = [name for name in Crops.to_schema().columns if names.count(name) > 1]
    if twice:
        raise CionError(f"{path}: column {', '.join(twice)} is there twice")


def _explain(message: str) -> str:
    """What pandas says of a text that is no table, in our words."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
        expected, line, seen = found.groups()
        return f"line {line} has {seen} columns, and the first line names {expected}"
    if found := re.search(r"EOF inside string starting at row (\d+)", message):
        line = int(found[1]) + 1
        return f"a quotation mark is open from line {line} to the end"
    first_line, _, _ = message.strip().partition("\n")
    return first_line
