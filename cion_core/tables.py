"""Models of every table that crosses a room's door; read and written as Parquet, always checked.

Units: times in seconds, boxes in pixels of the source frame (x right, y down; x2, y2 exclusive),
sharpness is the standard deviation of the Laplacian of grey levels, distances are cosine distances
1 - a·b.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cion_core import complaints
from cion_core.errors import CionError, refuse_special
from cion_core.work import atomic

LEVELS = ("tracklet", "video", "cross_video")
UNREADABLE = "not a readable Parquet file (damaged, cut off, or of another format)"
ACTIONS = ("kept", "dropped", "cut", "moved", "merged", "linked")


class Table(pa.DataFrameModel):
    """Base: more columns are allowed and kept, missing ones are errors, numbers are coerced."""

    class Config:
        coerce = True
        strict = False


class Videos(Table):
    """One row per usable video. `group` names its camera or source (the folder it lies in)."""

    video: Series[str] = pa.Field(unique=True)  # path relative to the source
    path: Series[str]
    sha256: Series[str] = pa.Field(str_length={"min_value": 64, "max_value": 64})
    fps: Series[float] = pa.Field(gt=0)
    frames: Series[int] = pa.Field(gt=0)
    width: Series[int] = pa.Field(gt=0)
    height: Series[int] = pa.Field(gt=0)
    group: Series[str]


class Crops(Table):
    """One row per crop: where it was seen, its tracklet, and where its JPEG lies.

    A tracklet's number is unique over all videos.
    """

    crop: Series[int] = pa.Field(unique=True, ge=0)
    video: Series[str]
    frame: Series[int] = pa.Field(ge=0)
    time_s: Series[float] = pa.Field(ge=0)
    tracklet: Series[int] = pa.Field(ge=0)
    x1: Series[float] = pa.Field(ge=0)
    y1: Series[float] = pa.Field(ge=0)
    x2: Series[float] = pa.Field(gt=0)
    y2: Series[float] = pa.Field(gt=0)
    confidence: Series[float]
    sharpness: Optional[Series[float]] = pa.Field(ge=0)  # noqa: UP045 - so pandera spells that it may be absent
    quality: Optional[Series[float]] = pa.Field(ge=0, le=1)  # noqa: UP045 - how much it shows of its person
    shot: Optional[Series[int]] = pa.Field(ge=0)  # noqa: UP045
    shard: Series[str]
    offset: Series[int] = pa.Field(ge=0)
    size: Series[int] = pa.Field(gt=0)

    @pa.dataframe_check(error="x1 < x2 and y1 < y2")
    def box_has_area(cls, df: pd.DataFrame) -> pd.Series:
        return (df.x1 < df.x2) & (df.y1 < df.y2)

    @pa.dataframe_check(error="a tracklet lies in one video")
    def tracklet_in_one_video(cls, df: pd.DataFrame) -> pd.Series:
        return df.groupby("tracklet").video.transform("nunique") == 1

    @pa.dataframe_check(error="a tracklet lies in one shot")
    def tracklet_in_one_shot(cls, df: pd.DataFrame) -> pd.Series:
        if "shot" not in df:
            return pd.Series(True, df.index)
        return df.groupby("tracklet").shot.transform("nunique") == 1


class Identities(Table):
    """The labelling that a denoising level puts out: one row per crop that it keeps."""

    crop: Series[int] = pa.Field(unique=True, ge=0)
    identity: Series[int] = pa.Field(ge=0)


class Ledger(Table):
    """What a level did to each crop and why, as data; `audit.sentences` makes sentences of it.

    `from`/`to` are identities (-1: none), as is `other`: the identity that it was cut off from,
    moved to, merged or linked with (-1: none). `rule` is what decided, `distance` what was
    measured, and `limit` the threshold that it was held against; both may be missing. `probability`
    is how likely the link across videos is right that `distance` tells of; missing at the other
    levels, and where nothing is known of it. Rules: radius (a cosine distance to the centroid of an
    identity's other crops), outlier (likewise, and the crop lies apart from all of its video:
    denoise.outliers), min_crops (the limit is a number of crops), switch (how far apart two parts
    of a tracklet are: denoise.switches), no_home (no identity within the limit may take the crop),
    separation (a distance of two identities), and at the last level the name of the linking rule.
    """

    crop: Series[int] = pa.Field(ge=0)
    # Categories: few texts for millions of crops.
    level: Series[pd.CategoricalDtype] = pa.Field(isin=LEVELS)
    action: Series[pd.CategoricalDtype] = pa.Field(isin=ACTIONS)
    other: Series[int] = pa.Field(ge=-1)
    distance: Series[float] = pa.Field(nullable=True)
    limit: Series[float] = pa.Field(nullable=True)
    probability: Series[float] = pa.Field(nullable=True, ge=0, le=1)
    rule: Series[pd.CategoricalDtype]
    from_: Series[int] = pa.Field(alias="from", ge=-1)
    to: Series[int] = pa.Field(ge=-1)


class Truth(Table):
    """Who is where in the demo world; empty for footage without truth. Read by the audit alone."""

    video: Series[str]
    frame: Series[int] = pa.Field(ge=0)
    x1: Series[float]
    y1: Series[float]
    x2: Series[float]
    y2: Series[float]
    person: Series[int] = pa.Field(ge=0)
    # The share that is not hidden by others or the frame's edge.
    visible: Series[float] = pa.Field(ge=0, le=1)


class People(Table):
    """The audit's verdict by the truth: who is on each crop.

    Negative numbers, each its own, are nobody.
    """

    crop: Series[int] = pa.Field(unique=True, ge=0)
    person: Series[int]


class Images(Table):
    """Labelled images as a layout finds them, in Market-1501's terms.

    `person` -1 is junk, 0 a distractor; `path` is as in the file system.
    """

    path: Series[str] = pa.Field(unique=True)
    split: Series[str] = pa.Field(isin=("train", "query", "gallery"))
    person: Series[int] = pa.Field(ge=-1)
    camera: Series[int] = pa.Field(ge=1)


class Benchmark(Images):
    """A labelled set whose images have all been read.

    `sha256` is of a file's bytes: whoever depends on the table sees that an image is another.
    """

    sha256: Series[str] = pa.Field(str_length={"min_value": 64, "max_value": 64})


class Ranked(Table):
    """Retrieval lists of an evaluation: for sampled queries, the first ranks after junk removal."""

    query: Series[str]
    rank: Series[int] = pa.Field(ge=1)
    gallery: Series[str]
    distance: Series[float]
    right: Series[bool]


class Queries(Table):
    """What each query of an evaluation scored, and who is on it; `ap` and `inp` in 0..1.

    A query with nothing right in the gallery is left out of the means: `first`, the rank of its
    first right image, is 0, and `ap` and `inp` are missing.
    """

    query: Series[str] = pa.Field(unique=True)  # the path of Benchmark
    person: Series[int]
    ap: Series[float] = pa.Field(nullable=True, ge=0, le=1)
    inp: Series[float] = pa.Field(nullable=True, ge=0, le=1)
    first: Series[int] = pa.Field(ge=0)

    @pa.dataframe_check(error="ap and inp are missing where first is 0, and only there")
    def scored_where_found(cls, df: pd.DataFrame) -> pd.Series:
        return (df.ap.isna() == (df["first"] == 0)) & (df.inp.isna() == (df["first"] == 0))


def camera_views(crops: pd.DataFrame) -> pd.Series:
    """Name the shot that each crop lies in: footage through which the camera stays the same.

    A video that is cut is several such stretches, each of which counts as a video of its own
    wherever crops of one camera are compared. The first shot bears the video's name, so that
    nothing changes where nothing is cut.

    Args:
        crops: column video, and perhaps shot (whole numbers from 0), by which it is known where a
            video is cut.

    Returns:
        Names, in the rows of `crops`: "a.mp4", and of later shots "a.mp4/shot 0001". No file can
        have such a name.
    """
    if "shot" not in crops or not (crops.shot > 0).any():
        return crops.video
    later = crops.shot > 0
    number = crops.shot[later].astype(str).str.zfill(4)
    names = crops.video.astype(object).copy()
    names[later] = names[later].astype(str) + "/shot " + number
    return names


def validate(table: type[Table], df: pd.DataFrame, where: str) -> pd.DataFrame:
    """Check a table.

    Args:
        table: its model.
        df: the table.
        where: what errors name.

    Returns:
        `df` with the model's dtypes.

    Raises:
        CionError: it names `where`, the column and the first bad rows.
    """
    try:
        return table.validate(df, lazy=True)
    except pa.errors.SchemaErrors as error:
        needed = [name for name, column in table.to_schema().columns.items() if column.required]
        lines = complaints.of_table(error.failure_cases, needed)
        raise CionError(
            f"{where}: not a table of {table.__name__.lower()}\n" + "\n".join(lines)
        ) from None


def read(table: type[Table], path: Path | str) -> pd.DataFrame:
    """Read a Parquet file, and check it.

    Args:
        table: its model.
        path: the file.

    Raises:
        CionError: it cannot be read, or is no such table.
    """
    refuse_special(path)
    try:
        df = pd.read_parquet(path)
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; the stage that writes it has not run (`dvc repro`)"
        ) from None
    except OSError as error:
        if error.errno is None:  # pyarrow's own, of what it reads
            raise CionError(f"{path}: {UNREADABLE}") from None
        raise CionError(f"{path}: cannot be read: {error.strerror.lower()}") from None
    except Exception:  # pyarrow raises a family of types for a torn file
        raise CionError(f"{path}: {UNREADABLE}") from None
    return validate(table, df, str(path))


def write(table: type[Table], df: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """Check a table, and write it as Parquet, atomically.

    Args:
        table: its model.
        df: the table.
        path: the file.

    Returns:
        `df` with the model's dtypes.

    Raises:
        CionError: it is no such table.
    """
    df = validate(table, df.reset_index(drop=True), str(path))
    with atomic(path) as temporary:
        df.to_parquet(temporary, index=False)
    return df


def empty(table: type[Table]) -> pd.DataFrame:
    """A table of no rows with `table`'s columns and dtypes."""
    return table.empty()
