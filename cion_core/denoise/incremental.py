"""New videos after an earlier result: they alone are denoised, and linked to the identities that there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from cion_core.denoise import cross_video, pipeline
from cion_core.denoise.checks import SHOWN, checked, shaped
from cion_core.denoise.result import Denoised, Level, joined
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.rows import Rows
from cion_core.tables import camera_views

PROBED = 1000  # earlier crops whose features are compared, to know that they are the same


def denoise(crops: pd.DataFrame, features: np.ndarray, earlier: Denoised, settings: Settings) -> Denoised:
    """`cion_core.denoise.denoise` of crops that were not there when `earlier` was made.

    crops, features: all, earlier and new. Only the features of new crops are read (and copied), and those of PROBED
    others. settings: as the earlier result holds them, but thresholds, which are its own. Raises CionError if they are
    not, or if crops are not those of `earlier` and of new videos.
    """
    for level in pipeline.LEVELS:
        if settings.thresholds(level) not in (Thresholds(), earlier.settings.thresholds(level)):
            raise CionError(f"{level}: with an earlier result the thresholds are those that it went by; give none")
    then, now = _shape(earlier.settings), _shape(settings)
    told = ", ".join(f"{name} {then.get(name)}, now {now[name]}" for name in now if now[name] != then.get(name))
    if told:
        raise CionError(f"earlier: it was made with {told}; use the same, or denoise all anew")
    new = added(crops, features, earlier)
    if not len(new):
        return earlier
    table, values = checked(crops.iloc[new], features[new])
    return extended(earlier, table, values)


def _shape(settings: Settings) -> dict[str, object]:
    """What an earlier result and what is added to it must have in common."""
    own = settings.settings(settings.linking).model_dump()
    return {name: getattr(settings, name) for name in ("linking", "cannot_link", "min_crops")} | own


def extended(earlier: Denoised, crops: pd.DataFrame, features: np.ndarray) -> Denoised:
    """The earlier result and what is new; crops, features as `checks.checked` returns them, of new videos alone."""
    old = earlier.crops
    fresh = np.zeros(len(old) + len(crops), bool)
    fresh[np.searchsorted(old.crop, crops.crop) + np.arange(len(crops))] = True
    levels, labels = [], crops.tracklet.to_numpy(np.int64)
    for level in earlier.levels:
        both, labels = grown(level, crops, features, labels, earlier.settings, fresh)
        levels.append(both)
    videos = union_categoricals([old.video, crops.video], sort_categories=True)
    codes = interleaved(videos.codes[: len(old)], videos.codes[len(old) :], fresh)
    table = {
        name: interleaved(old[name].to_numpy(), crops[name].to_numpy(), fresh)
        if name != "video"
        else pd.Categorical.from_codes(codes, videos.categories)
        for name in crops
        if name in old  # boxes are dropped where the earlier crops came without
    }
    probed, values = (
        np.concatenate(both) for both in zip((earlier.probed, earlier.probe), probe(crops, features), strict=True)
    )
    return replace(earlier, levels=tuple(levels), crops=pd.DataFrame(table, copy=False), probed=probed, probe=values)


def interleaved(old: np.ndarray, new: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Rows of `new` where fresh, bool [N], and of `old` elsewhere, in their orders."""
    both = np.empty(len(fresh), old.dtype)
    both[~fresh], both[fresh] = old, new
    return both


def grown(
    old: Level,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    fresh: np.ndarray,
) -> tuple[Level, np.ndarray]:
    """One level for new videos, at the thresholds of `old`: the level of all crops, and the labels of the new ones.

    crops, features as `checked` returns them, and labels int64 [N] that come in, of the new crops; fresh bool: which
    of all crops, by their numbers, those are.
    """
    if old.links:
        new, changes = cross_video.extend(old, crops, features, labels, settings)
        return linked(old, new, changes, fresh), new.labels
    new = pipeline.run_level(old.name, crops, features, labels, settings.fixed({old.name: old.thresholds}))
    return appended(old, new, fresh), new.labels


def appended(old: Level, new: Level, fresh: np.ndarray) -> Level:
    """Levels 1 and 2 of earlier and of new crops as one; fresh bool [N]: which of both, by crop number, are new."""
    return replace(
        old,
        labels=interleaved(old.labels, new.labels, fresh),
        ledger=joined([old, new]),
        before=old.before + new.before,
        after=old.after + new.after,
    )


def linked(old: Level, new: Level, changes: pd.DataFrame, fresh: np.ndarray) -> Level:
    """Level 3 of earlier and of new crops as one, with what `cross_video.extend` changed of the earlier ones."""
    labels, names = old.labels.copy(), changes[["from", "to"]].drop_duplicates()
    at = pd.Index(names["from"]).get_indexer(labels)
    labels[at >= 0] = names.to.to_numpy()[at[at >= 0]]
    ledger = joined([old, new])
    change = pd.Index(changes.name).get_indexer(old.ledger["from"])
    rows = np.flatnonzero(change >= 0)
    told = changes.iloc[change[rows]]
    for column in ("action", "other", "distance", "probability", "to"):
        ledger.loc[rows, column] = told[column].to_numpy()
    return replace(new, labels=interleaved(labels, new.labels, fresh), ledger=ledger)


def added(crops: pd.DataFrame, features: np.ndarray, earlier: Denoised) -> np.ndarray:
    """The rows of crops that `earlier` does not know; CionError if the others are not just its own."""
    shaped(crops, features)
    if features.shape[1] != earlier.probe.shape[1]:
        raise CionError(f"features: D is {features.shape[1]}, but {earlier.probe.shape[1]} in the earlier result")
    old, numbers = earlier.crops, crops.crop.to_numpy()
    place = pd.Index(old.crop).get_indexer(numbers)
    known, new = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
    _refuse("crops are there twice", numbers[crops.crop.duplicated().to_numpy()])
    gone = np.ones(len(old), bool)
    gone[place[known]] = False
    _refuse("crops of the earlier result are not there", old.crop.to_numpy()[gone])
    codes, videos = pd.factorize(camera_views(crops), use_na_sentinel=False)
    code = old.video.cat.categories.get_indexer(videos)[codes]  # -1: a video that is new
    now = {"video": code, "frame": crops.frame.to_numpy(), "tracklet": crops.tracklet.to_numpy()}
    then = {"video": old.video.cat.codes, "frame": old.frame, "tracklet": old.tracklet}
    for name, values in now.items():
        differs = values[known] != then[name].to_numpy()[place[known]]
        _refuse(f"crops have another {name} in the earlier result", numbers[known[differs]])
    shared = {"video": code[new] >= 0, "tracklet": np.isin(now["tracklet"][new], old.tracklet)}
    for name, rows in shared.items():
        _refuse(f"new crops lie in a {name} of the earlier result", numbers[new[rows]])
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
