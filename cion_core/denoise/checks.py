"""What may enter: a table of crops and their features. Whatever is wrong is named with its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.errors import CionError
from cion_core.neighbours.arrays import BLOCK
from cion_core.neighbours.rows import Rows
from cion_core.progress import track
from cion_core.tables import camera_views

COLUMNS = ("crop", "video", "frame", "tracklet")
BOXES = ("x1", "y1", "x2", "y2")
QUALITY = ("confidence", "sharpness", "quality")
SHOWN = 5
# a part that was cut off from a tracklet is PART and the number of its first crop: no tracklet's
# number
PART = 10**12


def checked(crops: pd.DataFrame, features: np.ndarray) -> tuple[pd.DataFrame, Rows]:
    """Return the crops sorted by crop number, and their unit features in that order, to be read
    when needed.

    The table is left with the columns that denoising knows, `video` as a category of
    `tables.camera_views` (each shot of a video that is cut is a video of its own), `confidence` and
    `sharpness`, where there are such, as float32 (NaN: no number). Raises CionError on missing
    columns, a wrong shape, NaN or zero features, duplicate crops, numbers that are negative or
    10^12 and more, and tracklets that span videos. No crops at all is fine: there is then nothing
    to label.
    """
    shaped(crops, features)
    if "shot" in crops and not pd.api.types.is_integer_dtype(crops.shot) and len(crops):
        raise CionError(f"crops: column shot is {crops.shot.dtype}, must be whole numbers")
    bad = {"crop is missing or repeated": crops.crop.isna() | crops.crop.duplicated()}
    for name in ("crop", "frame", "tracklet"):
        if not pd.api.types.is_integer_dtype(crops[name]) and len(crops):
            raise CionError(f"crops: column {name} is {crops[name].dtype}, must be whole numbers")
        bad[f"{name} is missing or negative"] = crops[name].isna() | (crops[name] < 0).fillna(True)
    for name in ("crop", "tracklet"):
        bad[f"{name} is 10^12 or more, where parts of tracklets are numbered"] = (
            crops[name] >= PART
        ).fillna(False)
    video = camera_views(crops).astype("category")
    bad["tracklet lies in more than one video or shot"] = _mixed(
        crops.tracklet.to_numpy(), video.cat.codes.to_numpy()
    )
    lengths = _lengths(features)
    bad["feature holds NaN"] = np.isnan(lengths)
    bad["feature holds infinity, or is longer than 3.4e38"] = np.isinf(lengths)
    bad["feature is zero"] = lengths == 0
    lines = [
        _line(what, np.flatnonzero(np.asarray(rows, bool)), crops) for what, rows in bad.items()
    ]
    if any(lines):
        raise CionError(
            "crops and features do not fit denoising\n" + "\n".join(filter(None, lines))
        )
    told = {
        name: pd.to_numeric(crops[name], "coerce").astype(np.float32)
        for name in QUALITY
        if name in crops
    }
    table = crops[[name for name in COLUMNS + BOXES if name in crops]].assign(video=video, **told)
    if table.crop.is_monotonic_increasing:
        return table.reset_index(drop=True), Rows(features, lengths)
    order = np.argsort(table.crop.to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True), Rows(features, lengths, order)


def shaped(crops: pd.DataFrame, features: np.ndarray) -> None:
    """Raise CionError if a column that denoising needs is absent, or features are not one row for
    each crop.
    """
    absent = [name for name in COLUMNS if name not in crops]
    if absent:
        raise CionError(f"crops: no column {', '.join(absent)}; needed are {', '.join(COLUMNS)}")
    if features.ndim != 2 or len(features) != len(crops):
        raise CionError(
            f"features: shape {tuple(features.shape)}, but there are {len(crops)} crops; row i is "
            "crop i's"
        )


def _mixed(tracklets: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Rows whose tracklet lies in several videos, or in none (-1)."""
    groups, names = pd.factorize(tracklets)
    one = np.empty(len(names), videos.dtype)
    one[groups] = videos
    mixed = np.zeros(len(names), bool)
    mixed[groups[(videos != one[groups]) | (videos < 0)]] = True
    return mixed[groups]


def _lengths(features: np.ndarray) -> np.ndarray:
    """Length of each row, float32 [N]: 0 or not finite where the row is of no use."""
    out = np.empty(len(features), np.float32)
    starts = range(0, len(features), BLOCK)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in track(starts, "features", "block") if len(starts) > 1 else starts:
            values = np.asarray(features[start : start + BLOCK], np.float32)
            lengths = np.linalg.norm(values, axis=1)
            # Squares of numbers such as 1e30 or 1e-30 are no float32.
            extreme = np.isinf(lengths) | (lengths == 0)
            lengths[extreme] = np.linalg.norm(values[extreme].astype(float), axis=1)
            out[start : start + BLOCK] = lengths
    return out


def _line(what: str, rows: np.ndarray, crops: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    named = ", ".join(
        f"{row} (crop {crops.crop.iloc[row]}, tracklet {crops.tracklet.iloc[row]})"
        for row in rows[:SHOWN]
    )
    return f"  {what}: {len(rows)} rows, first {named}"
