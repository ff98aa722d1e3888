"""A user's own table of crops, .parquet or .csv."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cion_core import tables
from cion_core.errors import CionError
from cion_core.external.shared import SHOWN

SUFFIXES = (".parquet", ".csv", ".tsv")  # in any case
WHOLE = ("crop", "frame", "tracklet")


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


def read(path: Path) -> pd.DataFrame:
    """The crops of a table, checked; more columns are kept.

    Raises:
        CionError: it is no such table; column and rows are named.
    """
    crops = tables.read(tables.Table, path) if path.suffix.lower() == ".parquet" else _text(path)
    for name in WHOLE:  # coercion would cut 1.5 down to 1
        if name in crops and pd.api.types.is_float_dtype(crops[name]):
            rows = np.flatnonzero(crops[name] % 1 != 0)[:SHOWN]
            if len(rows):
                raise CionError(
                    f"{path}: column {name}: must be whole numbers, rows {rows.tolist()}, "
                    f"found {crops[name].iloc[rows].tolist()}"
                )
    return tables.validate(Crops, crops, str(path))


def _text(path: Path) -> pd.DataFrame:
    """A table of text, whose first line tells by what its columns are separated.

    A semicolon comes with decimal commas, as programs write it in countries where those are usual.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
            second = file.readline()
        separator = max((",", ";", "\t"), key=header.count)
        decimal = "," if separator == ";" and "," in second else "."
        return pd.read_csv(
            path, dtype={"video": str, "path": str}, keep_default_na=False, sep=separator, decimal=decimal,
            encoding="utf-8-sig", low_memory=False,
        )  # fmt: skip
    except OSError as error:
        raise CionError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not a CSV table: it is not UTF-8 text; save it as UTF-8") from None
    except (ValueError, pd.errors.ParserError) as error:  # ValueError: no columns at all
        raise CionError(f"{path}: not a CSV table ({error})") from None
