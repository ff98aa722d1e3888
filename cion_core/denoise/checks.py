"""What may enter: a table of crops and their features. Whatever is wrong is named with its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise.noise import unit
from cion_core.errors import CionError

COLUMNS = ("crop", "video", "frame", "tracklet")
SHOWN = 5


def checked(crops: pd.DataFrame, features: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the crops sorted by crop number, and their features float32 of unit length in that order.

    Raises CionError on missing columns, a wrong shape, NaN or zero features, duplicate crops, negative numbers, and
    tracklets that span videos. No crops at all is fine: there is then nothing to label.
    """
    absent = [name for name in COLUMNS if name not in crops]
    if absent:
        raise CionError(f"crops: no column {', '.join(absent)}; needed are {', '.join(COLUMNS)}")
    if features.ndim != 2 or len(features) != len(crops):
        raise CionError(f"features: shape {tuple(features.shape)}, but there are {len(crops)} crops; row i is crop i's")
    bad = {"crop is missing or repeated": crops.crop.isna() | crops.crop.duplicated()}
    for name in ("crop", "frame", "tracklet"):
        if not pd.api.types.is_integer_dtype(crops[name]) and len(crops):
            raise CionError(f"crops: column {name} is {crops[name].dtype}, must be whole numbers")
        bad[f"{name} is negative"] = crops[name] < 0
    bad["tracklet lies in more than one video"] = crops.groupby("tracklet").video.transform("nunique") != 1
    values = np.asarray(features, np.float32)
    bad["feature holds NaN or infinity"] = ~np.isfinite(values).all(1)
    bad["feature is zero"] = ~values.any(1)
    lines = [_line(what, np.flatnonzero(np.asarray(rows, bool)), crops) for what, rows in bad.items()]
    if any(lines):
        raise CionError("crops and features do not fit denoising\n" + "\n".join(filter(None, lines)))
    order = np.argsort(crops.crop.to_numpy(), kind="stable")
    return crops.iloc[order].reset_index(drop=True), unit(values[order])


def _line(what: str, rows: np.ndarray, crops: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    named = ", ".join(
        f"{row} (crop {crops.crop.iloc[row]}, tracklet {crops.tracklet.iloc[row]})" for row in rows[:SHOWN]
    )
    return f"  {what}: {len(rows)} rows, first {named}"
