"""Whether the videos of an earlier result are still what they were, so that it can be continued.

Each level writes down, for each video, a digest of all that it was given of it. A later run with
more videos makes the digests again and compares. New videos may have come before old ones, and then
every crop and tracklet behind them has another number. So digests are made of numbers that count
from the video's own lowest, and the earlier result is renumbered.

    then: video b has crops 0-9                    its lowest crop is 0
    now:  video a has crops 0-4, b has crops 5-14  its lowest crop is 5

To find today's crop 7 of b in the earlier result, add what its lowest crop was and take off what it
is: 7 + 0 - 5 = 2. What the earlier result says of crop 2 is then said of crop 7 (`renumber`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.denoise import state
from cion_core.denoise.checks import PART, SHOWN
from cion_core.denoise.linking import saved_progress
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Settings
from cion_core.errors import CionError
from cion_core.neighbours.arrays import run_starts

ANEW = "denoise.earlier: null denoises all anew"
# A result that other code has made is not continued.
CODE = [*sorted(Path(__file__).parent.glob("*.py")), *saved_progress.CODE]
# Columns of crops whose values are compared as they are.
PLAIN = ["frame", "x1", "y1", "x2", "y2", "confidence", "sharpness", "quality", "shot"]
COLUMNS = ["video", "first_crop", "first_tracklet", "digest", "made_by"]


def made_by(settings: Settings, level: str) -> str:
    """16 hex digits for all that decides about a level except its crops: settings and code."""
    rule = RULES.files(settings.linking) if level == tables.LEVELS[-1] else []
    files = dict.fromkeys([*CODE, *rule])
    return work.key(settings.of(level), *files)


def describe_videos(
    crops: pd.DataFrame, features: np.ndarray, labels: np.ndarray, made_by: str
) -> pd.DataFrame:
    """What a level is given of each video.

    Args:
        crops: a tables.Crops, sorted by crop.
        features: [N, D], row i that of row i of `crops`.
        labels: int64 [N], the labelling that comes into the level, -1: none.
        made_by: settings and code, as 16 hex digits.

    Returns:
        A row for each video, by name: video, first_crop and first_tracklet (its lowest numbers),
        digest (32 hex digits), made_by. Equal digests mean equal crops, features and labels.
    """
    code, names = pd.factorize(crops.video, sort=True)
    by_video = np.argsort(code, kind="stable")
    starts = run_starts(code[by_video])
    rows_of = np.split(by_video, starts[1:]) if len(names) else []

    columns = {
        name: crops[name].to_numpy() for name in ["crop", "tracklet", *PLAIN] if name in crops
    }

    described = []
    for name, rows in zip(names, rows_of, strict=True):
        own = {column: values[rows] for column, values in columns.items()}
        first_crop, first_tracklet = int(own["crop"].min()), int(own["tracklet"].min())
        digest = _digest(own, features[rows], labels[rows], first_crop, first_tracklet)
        described.append((str(name), first_crop, first_tracklet, digest, made_by))
    return pd.DataFrame(described, columns=COLUMNS)


def _digest(
    own: dict[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    first_crop: int,
    first_tracklet: int,
) -> str:
    """32 hex digits of one video: the columns of its crops, counted from its lowest numbers."""
    # A label is the number of a tracklet, or PART and the number of a crop.
    lowest = np.where(labels < PART, first_tracklet, first_crop)
    local_labels = np.where(labels < 0, -1, labels - lowest)
    arrays = [
        own["crop"] - first_crop,
        own["tracklet"] - first_tracklet,
        *(own[name] for name in PLAIN if name in own),
        local_labels,
        np.asarray(features),
    ]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def earlier_level(
    folder: Path, name: str, crops: pd.DataFrame, now: pd.DataFrame
) -> tuple[Level, np.ndarray]:
    """A level of an earlier result, whose videos must all be as they were; others may be new.

    Args:
        folder: of the level in the earlier result.
        name: which of `tables.LEVELS` it is.
        crops: all crops there are now, sorted by crop.
        now: `describe_videos` of them.

    Returns:
        The level of the earlier crops, in the numbers that crops and tracklets have now; and which
        of `crops` they are, bool [N].

    Raises:
        CionError: a video has changed or is gone, or settings or code are others.
    """
    both = _compare(folder, now).set_index("video")
    known = crops.video.isin(both.index).to_numpy()
    some = crops[known]

    # What to add to today's number of a crop or a tracklet to have its earlier one.
    video = some.video.astype(str)
    to_earlier = {}
    for kind in ("crop", "tracklet"):
        difference = both[f"first_{kind}_then"] - both[f"first_{kind}_now"]
        to_earlier[kind] = video.map(difference).to_numpy(np.int64)
    crop, tracklet = some.crop.to_numpy(), some.tracklet.to_numpy()
    earlier_crop = crop + to_earlier["crop"]
    earlier_tracklet = tracklet + to_earlier["tracklet"]

    level = state.read_level(folder, name, state.read_labels(folder, earlier_crop))
    if to_earlier["crop"].any() or to_earlier["tracklet"].any():
        new_crop = pd.Series(crop, earlier_crop)
        new_tracklet = pd.Series(tracklet, earlier_tracklet)
        is_repeated = new_tracklet.index.duplicated()
        level = renumber(level, new_crop, new_tracklet[~is_repeated])
    return level, known


def _compare(folder: Path, now: pd.DataFrame) -> pd.DataFrame:
    """The earlier videos, with columns `_then` and `_now`; CionError if one is not as it was."""
    path = folder / state.VIDEOS
    if not path.is_file():
        raise CionError(
            f"denoise.earlier: {path}: no such file; it must be a copy of data/denoise; {ANEW}"
        )
    then = pd.read_parquet(path)
    if list(then) != list(now) or (then.made_by != now.made_by.iloc[0]).any():
        raise CionError(
            f"denoise.earlier: {folder}: made by other code or with other settings of the level; "
            f"{ANEW}"
        )
    both = then.merge(now, on="video", how="left", suffixes=("_then", "_now"))
    other = both[both.digest_then != both.digest_now]
    if len(other):
        kinds = np.where(other.digest_now.isna(), "gone", "changed")
        named = [f"{video} ({kind})" for video, kind in zip(other.video, kinds, strict=True)]
        raise CionError(
            f"denoise.earlier: {folder}: {len(other)} of its videos are not as they were: "
            f"{', '.join(named[:SHOWN])}; {ANEW}"
        )
    return both


def renumber(level: Level, crops: pd.Series, tracklets: pd.Series) -> Level:
    """The same level where crops and tracklets have new numbers. Identities are named after both.

    Args:
        level: with earlier numbers.
        crops: the new number of each crop; its index holds the earlier one.
        tracklets: the same for tracklets.

    Raises:
        CionError: the ledger speaks of a crop that is not in `crops`.
    """

    new_crops, new_tracklets = crops.to_numpy(), tracklets.to_numpy()

    def new(identities: np.ndarray) -> np.ndarray:
        # An identity is the number of a tracklet, or PART and the number of a crop, or -1.
        tracklet = tracklets.index.get_indexer(identities)
        crop = crops.index.get_indexer(np.asarray(identities) - PART)
        of_tracklet = np.where(tracklet >= 0, new_tracklets[tracklet], -1)
        return np.where(crop >= 0, PART + new_crops[crop], of_tracklet)

    ledger = level.ledger.copy()
    row = crops.index.get_indexer(ledger.crop)
    is_unknown = row < 0
    if is_unknown.any():
        first = ledger.crop[is_unknown].iloc[0]
        raise CionError(
            f"ledger of {level.name}: it holds crops that are not in crops.parquet, first {first}"
        )
    ledger["crop"] = new_crops[row]
    for column in ("other", "from", "to"):
        ledger[column] = new(ledger[column])

    links = level.links
    if links:
        links = replace(
            links, video_identity=new(links.video_identity), identity=new(links.identity)
        )
    return replace(level, labels=new(level.labels), ledger=ledger, links=links)
