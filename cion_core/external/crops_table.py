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

SUFFIXES = (".parquet", ".csv")
WHOLE = ("crop", "frame", "tracklet")


class Seen(tables.Table):
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
    """The crops of the table, checked; more columns are kept. CionError names column and rows."""
    if path.suffix == ".parquet":
        crops = tables.read(tables.Table, path)
    else:
        try:
            crops = pd.read_csv(path, dtype={"video": str, "path": str}, keep_default_na=False)
        except (ValueError, pd.errors.ParserError) as error:  # ValueError: no columns at all, or not UTF-8
            raise CionError(f"{path}: not a CSV table ({error})") from None
    for name in WHOLE:  # coercion would cut 1.5 down to 1
        if name in crops and pd.api.types.is_float_dtype(crops[name]):
            rows = np.flatnonzero(crops[name] % 1 != 0)[:SHOWN]
            if len(rows):
                raise CionError(
                    f"{path}: column {name}: must be whole numbers, rows {rows.tolist()}, "
                    f"found {crops[name].iloc[rows].tolist()}"
                )
    return tables.validate(Seen, crops, str(path))
