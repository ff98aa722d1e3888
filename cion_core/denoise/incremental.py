"""New videos after an earlier result: they alone are denoised, and linked to the identities that there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from cion_core.denoise import cross_video, single_video, tracklet
from cion_core.denoise.checks import SHOWN, checked, shaped
from cion_core.denoise.level import Denoised, Level, joined
from cion_core.denoise.noise import unit
from cion_core.denoise.rows import Rows
from cion_core.errors import CionError

PROBED = 1000  # earlier crops whose features are compared, to know that they are the same


def denoise(crops: pd.DataFrame, features: np.ndarray, earlier: Denoised, settings: dict) -> Denoised:
    """`cion_core.denoise.denoise` of crops that were not there when `earlier` was made.

    crops, features: all, earlier and new. Only the features of new crops are read (and copied), and those of PROBED
    others. settings: as the earlier result holds them. Raises CionError if crops are not those of `earlier` and of
    new videos.
    """
    other = [name for name in settings if settings[name] != earlier.settings[name]]
    if other:
        told = ", ".join(f"{name} {earlier.settings[name]}, now {settings[name]}" for name in other)
        raise CionError(f"earlier: it was made with {told}; use the same, or denoise all anew")
    new = added(crops, features, earlier)
    if not len(new):
        return earlier
    table, values = checked(crops.iloc[new], features[new])
    return extended(earlier, table, values)


def extended(earlier: Denoised, crops: pd.DataFrame, features: np.ndarray) -> Denoised:
    """The earlier result and what is new; crops, features as `checks.checked` returns them, of new videos alone."""
    order = np.argsort(np.concatenate([earlier.crops.crop, crops.crop]), kind="stable")
    levels, labels = [], crops.tracklet.to_numpy(np.int64)
    for old in earlier.levels:
        level, labels = grown(
            old, crops, features, labels, order, earlier.settings["min_crops"], earlier.settings["cannot_link"]
        )
        levels.append(level)
    video = union_categoricals([earlier.crops.video, crops.video], sort_categories=True)
    both = pd.concat([earlier.crops.drop(columns="video"), crops.drop(columns="video")], ignore_index=True)
    table = both.assign(video=video).iloc[order].reset_index(drop=True)[list(crops)]
    probed, values = (
        np.concatenate(both) for both in zip((earlier.probed, earlier.probe), probe(crops, features), strict=True)
    )
    return replace(earlier, levels=tuple(levels), crops=table, probed=probed, probe=values)


def grown(
    old: Level,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    order: np.ndarray,
    min_crops: int,
    cannot: bool,
) -> tuple[Level, np.ndarray]:
    """One level for new videos, at the thresholds of `old`: the level of all crops, and the labels of the new ones.

    crops, features as `checked` returns them, and labels int64 [N] that come in, of the new crops; order int: of the
    crops of `old` and the new ones behind them, by crop number.
    """
    if old.name == "cross_video":
        new, changes = cross_video.extend(old, crops, features, labels, cannot)
        return linked(old, new, changes, order), new.labels
    if old.name == "video":
        new = single_video.denoise(crops, features, labels, old.noise, cannot)
    else:
        new = tracklet.denoise(crops, features, old.noise.radius, min_crops, cannot=cannot)
    return appended(old, new, order), new.labels


def appended(old: Level, new: Level, order: np.ndarray) -> Level:
    """Levels 1 and 2 of earlier and of new crops as one; order int [N]: of both, by crop number."""
    return replace(
        old,
        labels=np.concatenate([old.labels, new.labels])[order],
        ledger=joined([old, new]),
        before=old.before + new.before,
        after=old.after + new.after,
    )


def linked(old: Level, new: Level, changes: pd.DataFrame, order: np.ndarray) -> Level:
    """Level 3 of earlier and of new crops as one, with what `cross_video.extend` changed of the earlier ones."""
    labels, names = old.labels.copy(), changes[["from", "to"]].drop_duplicates()
    at = pd.Index(names["from"]).get_indexer(labels)
    labels[at >= 0] = names.to.to_numpy()[at[at >= 0]]
    ledger = joined([old, new])
    node = pd.Index(old.links.names[changes.node]).get_indexer(old.ledger["from"])
    rows = np.flatnonzero(node >= 0)
    told = changes.iloc[node[rows]]
    ledger["reason"] = ledger.reason.cat.add_categories(
        [text for text in told.reason.unique() if text not in ledger.reason.cat.categories]
    )
    for column in ("action", "reason", "distance", "to"):
        ledger.loc[rows, column] = told[column].to_numpy()
    ledger["reason"] = ledger.reason.cat.remove_unused_categories()
    return replace(new, labels=np.concatenate([labels, new.labels])[order], ledger=ledger)


def added(crops: pd.DataFrame, features: np.ndarray, earlier: Denoised) -> np.ndarray:
    """The rows of crops that `earlier` does not know; CionError if the others are not just its own."""
    shaped(crops, features)
    if features.shape[1] != earlier.probe.shape[1]:
        raise CionError(f"features: D is {features.shape[1]}, but {earlier.probe.shape[1]} in the earlier result")
    old = earlier.crops
    place = pd.Index(old.crop).get_indexer(crops.crop)
    known, new = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
    _refuse("crops are there twice", crops.crop.to_numpy()[crops.crop.duplicated().to_numpy()])
    gone = np.ones(len(old), bool)
    gone[place[known]] = False
    _refuse("crops of the earlier result are not there", old.crop.to_numpy()[gone])
    before = old.iloc[place[known]]
    videos = old.video.cat.categories
    given = {
        "video": pd.Categorical(crops.video.iloc[known], categories=videos).codes,
        "frame": crops.frame.to_numpy()[known],
        "tracklet": crops.tracklet.to_numpy()[known],
    }
    for name, values in given.items():
        then = before.video.cat.codes.to_numpy() if name == "video" else before[name].to_numpy()
        differs = crops.crop.to_numpy()[known[values != then]]
        _refuse(f"crops have another {name} in the earlier result", differs)
    for name in ("video", "tracklet"):
        shared = crops[name].iloc[new].isin(old[name].unique()).to_numpy()
        _refuse(f"new crops lie in a {name} of the earlier result", crops.crop.to_numpy()[new[shared]])
    row = np.empty(len(old), np.int64)
    row[place[known]] = known
    then = row[pd.Index(old.crop).get_indexer(earlier.probed)]
    same = np.abs(unit(np.asarray(features[then])) - earlier.probe).max(1, initial=0) <= 1e-3  # NaN is not
    _refuse("crops have other features in the earlier result", earlier.probed[~same])
    return new


def probe(crops: pd.DataFrame, features: np.ndarray | Rows) -> tuple[np.ndarray, np.ndarray]:
    """PROBED crops at even distances, or all if they are fewer: their numbers int64 [P], and features [P, D]."""
    rows = np.unique(np.linspace(0, len(crops) - 1, min(len(crops), PROBED)).astype(np.int64))
    return crops.crop.to_numpy(np.int64)[rows], features[rows]


def _refuse(what: str, numbers: np.ndarray) -> None:
    if len(numbers):
        raise CionError(
            f"earlier: {len(numbers)} {what}, first {numbers[:SHOWN].tolist()}; for other footage, denoise all anew"
        )
