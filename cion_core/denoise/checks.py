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
# A part that was cut off from a tracklet is numbered PART + the number of its first crop. No
# tracklet's number is so high.
PART = 10**12


def checked(crops: pd.DataFrame, features: np.ndarray) -> tuple[pd.DataFrame, Rows]:
    """Check a table of crops and their features, and sort both by crop number.

    No crops at all is fine: there is then nothing to label.

    Args:
        crops: N of them, with COLUMNS; BOXES, QUALITY and `shot` where there are such.
        features: [N, D], row i that of row i of `crops`; of any length.

    Returns:
        The crops, sorted, with the columns that denoising knows: `video` as a category of
        `tables.camera_views` (each shot of a video that is cut is a video of its own), QUALITY as
        float32 (NaN: no number). And their features at unit length, to be read when needed.

    Raises:
        CionError: columns are missing, a shape is wrong, features hold NaN or are zero, crops are
            there twice, numbers are negative or 10^12 and more, a tracklet spans videos.
    """
    # Step 1: the shape of what is given.
    check_shape(crops, features)
    for name in ("shot", "crop", "frame", "tracklet"):
        if name in crops:
            _check_whole(crops[name])

    # Step 2: what is wrong, and in which rows.
    video = camera_views(crops).astype("category")
    lengths = _lengths(features)
    bad = {"crop is missing or repeated": crops.crop.isna() | crops.crop.duplicated()}
    for name in ("crop", "frame", "tracklet"):
        is_negative = (crops[name] < 0).fillna(True)
        bad[f"{name} is missing or negative"] = crops[name].isna() | is_negative
    for name in ("crop", "tracklet"):
        is_of_part = (crops[name] >= PART).fillna(False)
        bad[f"{name} is 10^12 or more, where parts of tracklets are numbered"] = is_of_part
    in_several = _in_several_videos(crops.tracklet.to_numpy(), video.cat.codes.to_numpy())
    bad["tracklet lies in more than one video or shot"] = in_several
    bad["feature holds NaN"] = np.isnan(lengths)
    bad["feature holds infinity, or is longer than 3.4e38"] = np.isinf(lengths)
    bad["feature is zero"] = lengths == 0
    complaints = []
    for what, is_bad in bad.items():
        rows = np.flatnonzero(np.asarray(is_bad, bool))
        if len(rows):
            complaints.append(_complain(what, rows, crops))
    if complaints:
        raise CionError("crops and features do not fit denoising\n" + "\n".join(complaints))

    # Step 3: the columns that are of use, by crop number.
    told = {
        name: pd.to_numeric(crops[name], "coerce").astype(np.float32)
        for name in QUALITY
        if name in crops
    }
    columns = [name for name in COLUMNS + BOXES if name in crops]
    table = crops[columns].assign(video=video, **told)
    if table.crop.is_monotonic_increasing:
        return table.reset_index(drop=True), Rows(features, lengths)
    order = np.argsort(table.crop.to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True), Rows(features, lengths, order)


def check_shape(crops: pd.DataFrame, features: np.ndarray) -> None:
    """Raise CionError if a column is absent, or features are not one row for each crop."""
    absent = [name for name in COLUMNS if name not in crops]
    if absent:
        raise CionError(f"crops: no column {', '.join(absent)}; needed are {', '.join(COLUMNS)}")
    if features.ndim != 2 or len(features) != len(crops):
        raise CionError(
            f"features: shape {tuple(features.shape)}, but there are {len(crops)} crops; row i is "
            "crop i's"
        )


def _check_whole(column: pd.Series) -> None:
    """Raise CionError if a column of some rows holds anything but whole numbers."""
    if len(column) and not pd.api.types.is_integer_dtype(column):
        raise CionError(f"crops: column {column.name} is {column.dtype}, must be whole numbers")


def _in_several_videos(tracklets: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Rows whose tracklet lies in several videos, or in none (-1); bool [N]."""
    groups, names = pd.factorize(tracklets)
    one_video = np.empty(len(names), videos.dtype)
    one_video[groups] = videos
    in_another = videos != one_video[groups]
    in_none = videos < 0
    in_several = np.zeros(len(names), bool)
    in_several[groups[in_another | in_none]] = True
    return in_several[groups]


def _lengths(features: np.ndarray) -> np.ndarray:
    """Length of each row, float32 [N]: 0 or not finite where the row is of no use."""
    all_lengths = np.empty(len(features), np.float32)
    starts = range(0, len(features), BLOCK)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in track(starts, "features", "block") if len(starts) > 1 else starts:
            rows = slice(start, start + BLOCK)
            values = np.asarray(features[rows], np.float32)
            lengths = np.linalg.norm(values, axis=1)
            # Squares of numbers such as 1e30 or 1e-30 are no float32.
            extreme = np.isinf(lengths) | (lengths == 0)
            lengths[extreme] = np.linalg.norm(values[extreme].astype(float), axis=1)
            all_lengths[rows] = lengths
    return all_lengths


def _complain(what: str, rows: np.ndarray, crops: pd.DataFrame) -> str:
    """A line about rows in which something is wrong: how many they are, and the first."""
    named = ", ".join(
        f"{row} (crop {crops.crop.iloc[row]}, tracklet {crops.tracklet.iloc[row]})"
        for row in rows[:SHOWN]
    )
    return f"  {what}: {len(rows)} rows, first {named}"
