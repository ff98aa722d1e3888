"""The crops that methods are trained on, with their identities at each level."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.denoise.linking.confidence import read_at
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.training import ranks


def read_crops(root: Path, confidence: float | None = None) -> tuple[pd.DataFrame, list[Path]]:
    """The crops that every method sees, and their identities at each level.

    They are those that the last level keeps, whichever identities a method goes by, so that methods
    differ in nothing else.

    Args:
        root: the folder `data`.
        confidence: of the links across videos; None: all of them.

    Returns:
        The crops, with their identities in the columns crop, video and cross_video, and in `source`
        the video that each was cut from; and the files that were read.

    Raises:
        CionError: there is no crop, or the levels are of different crops.
    """
    crops_file = root / "tracklets/crops.parquet"
    linked_file, video_file = (
        root / "denoise" / level / "identities.parquet" for level in ("cross_video", "video")
    )
    files = [crops_file, linked_file, video_file]
    crops = tables.read(tables.Crops, crops_file).rename(columns={"video": "source"})
    crops = crops[["crop", "source", "tracklet", "frame", "shard", "offset", "size"]]

    linked = _read_identities(linked_file, "cross_video")
    crops = crops.merge(linked, on="crop")
    _check_kept(len(linked), len(crops), linked_file, crops_file)
    crops_of_videos = crops.merge(_read_identities(video_file, "video"), on="crop")
    _check_kept(len(crops), len(crops_of_videos), linked_file, video_file)
    crops = crops_of_videos
    if crops.empty:
        raise CionError(
            f"{linked_file}: no crop to train on; see denoise.radius and denoise.min_crops"
        )
    if confidence is not None:
        files.append(root / "denoise/cross_video/links.npz")
        crops = _cut_links(crops, files[-1], confidence)
    return crops, files


def _read_identities(path: Path, level: str) -> pd.DataFrame:
    return tables.read(tables.Identities, path).rename(columns={"identity": level})


def _check_kept(wanted: int, found: int, path: Path, other: Path) -> None:
    if found < wanted:
        raise CionError(
            f"{path}: {wanted - found} of its crops are not in {other}; `dvc repro` both"
        )


def _cut_links(crops: pd.DataFrame, path: Path, confidence: float) -> pd.DataFrame:
    """The crops with links across videos cut that are right with a lower probability."""
    before = crops.cross_video.nunique()
    result = read_at(path, crops.video.to_numpy(), confidence)
    crops = crops.assign(cross_video=result.labels)
    if ranks.rank() == 0:
        say(
            f"pre-training on links that are right with a probability of {confidence:g} and "
            f"more: {result.merges_dropped} of {result.merges} are cut, {before} identities are "
            f"{crops.cross_video.nunique()} now"
        )
    return crops
