"""New videos after an earlier result: they alone are denoised, then linked to its identities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from cion_core.denoise import cross_video, pipeline
from cion_core.denoise.checks import SHOWN, check_shape, checked
from cion_core.denoise.result import Denoised, Level, join_ledgers
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.rows import Rows
from cion_core.tables import camera_views

# So many earlier crops have their features compared, to know that features are still the same.
PROBED = 1000
# Features of the same crop, at unit length, differ by no more in any number.
SAME_FEATURE = 1e-3


def denoise_new_videos(
    crops: pd.DataFrame, features: np.ndarray, earlier: Denoised, settings: Settings
) -> Denoised:
    """`cion_core.denoise.denoise` where a result for some of the videos is there already.

    Args:
        crops: all crops, earlier and new.
        features: [N, D], of all. Read are those of new crops, and of PROBED earlier ones.
        earlier: the result for the earlier crops.
        settings: as in the earlier result. Thresholds must be "auto" or its own.

    Returns:
        The result for all crops, by their numbers.

    Raises:
        CionError: settings differ, or the earlier crops are not all there as they were, or a new
            crop lies in an earlier video or tracklet.
    """
    _check_settings(settings, earlier.settings)
    new = find_new(crops, features, earlier)
    if not len(new):
        return earlier
    table, values = checked(crops.iloc[new], features[new])
    return extend_result(earlier, table, values)


def _check_settings(now: Settings, then: Settings) -> None:
    """CionError where an earlier result and what is added to it would not have the same rules."""
    for level in pipeline.LEVELS:
        if now.thresholds(level) not in (Thresholds(), then.thresholds(level)):
            raise CionError(
                f"{level}: with an earlier result its thresholds are used again; give none"
            )
    shared_then, shared_now = _shared_settings(then), _shared_settings(now)
    differences = [
        f"{name} {shared_then.get(name)}, now {value}"
        for name, value in shared_now.items()
        if value != shared_then.get(name)
    ]
    if differences:
        raise CionError(
            f"earlier: it was made with {', '.join(differences)}; use the same, or denoise all anew"
        )


def _shared_settings(settings: Settings) -> dict[str, object]:
    """What an earlier result and what is added to it must have in common."""
    general = {name: getattr(settings, name) for name in ("linking", "cannot_link", "min_crops")}
    of_rule = settings.settings(settings.linking).model_dump()
    return general | of_rule


def extend_result(earlier: Denoised, crops: pd.DataFrame, features: np.ndarray | Rows) -> Denoised:
    """The earlier result and new videos as one.

    Args:
        earlier: the result as it was.
        crops: of new videos alone, as `checks.checked` returns them.
        features: likewise.
    """
    old = earlier.crops
    # Where new crops stand among all crops: old ones below them, and new ones before them.
    place = np.searchsorted(old.crop, crops.crop) + np.arange(len(crops))
    is_new = np.zeros(len(old) + len(crops), bool)
    is_new[place] = True

    levels = []
    labels = crops.tracklet.to_numpy(np.int64)
    for level in earlier.levels:
        whole, labels = extend_level(level, crops, features, labels, earlier.settings, is_new)
        levels.append(whole)

    new_probed, new_probe = take_probe(crops, features)
    return replace(
        earlier,
        levels=tuple(levels),
        crops=_join_crops(old, crops, is_new),
        probed=np.concatenate([earlier.probed, new_probed]),
        probe=np.concatenate([earlier.probe, new_probe]),
    )


def _join_crops(old: pd.DataFrame, new: pd.DataFrame, is_new: np.ndarray) -> pd.DataFrame:
    """One table, by crop number. Boxes are dropped where the earlier crops came without."""
    videos = union_categoricals([old.video, new.video], sort_categories=True)
    codes = interleave(videos.codes[: len(old)], videos.codes[len(old) :], is_new)
    columns = {}
    for name in new:
        if name == "video":
            columns[name] = pd.Categorical.from_codes(codes, videos.categories)
        elif name in old:
            columns[name] = interleave(old[name].to_numpy(), new[name].to_numpy(), is_new)
    return pd.DataFrame(columns, copy=False)


def interleave(old: np.ndarray, new: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Rows of `new` where `is_new`, bool [N], and rows of `old` elsewhere; each in their order."""
    both = np.empty(len(is_new), old.dtype)
    both[~is_new] = old
    both[is_new] = new
    return both


def extend_level(
    old: Level,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    is_new: np.ndarray,
) -> tuple[Level, np.ndarray]:
    """One level for new videos, at the thresholds of the earlier one.

    Args:
        old: the level of the earlier crops.
        crops: of new videos alone, as `checks.checked` returns them.
        features: likewise.
        labels: int64 [n], the labelling of new crops that comes into the level.
        settings: of the earlier result.
        is_new: bool [N], which of all crops, by their numbers, are new.

    Returns:
        The level of all crops; and the labels of the new ones, int64 [n].
    """
    if old.links:
        new, changes = cross_video.extend(old, crops, features, labels, settings)
        return _join_linked(old, new, changes, is_new), new.labels
    fixed = settings.fixed({old.name: old.thresholds})
    new = pipeline.run_level(old.name, crops, features, labels, fixed)
    return _join_separate(old, new, is_new), new.labels


def _join_separate(old: Level, new: Level, is_new: np.ndarray) -> Level:
    """Level 1 or 2 of earlier and of new crops as one: no video has to do with another."""
    return replace(
        old,
        labels=interleave(old.labels, new.labels, is_new),
        ledger=join_ledgers([old, new]),
        before=old.before + new.before,
        after=old.after + new.after,
    )


def _join_linked(old: Level, new: Level, changes: pd.DataFrame, is_new: np.ndarray) -> Level:
    """Level 3 of earlier and of new crops as one.

    Args:
        old: the level of the earlier crops.
        new: of the new ones.
        changes: which earlier identities of level 2 have another fate now (`cross_video.extend`).
        is_new: bool [N], which of all crops, by their numbers, are new.
    """
    # Identities of level 3 that have become part of another one.
    renamed = changes[["from", "to"]].drop_duplicates()
    row = pd.Index(renamed["from"]).get_indexer(old.labels)
    is_renamed = row >= 0
    new_number = renamed.to.to_numpy()
    old_labels = old.labels.copy()
    old_labels[is_renamed] = new_number[row[is_renamed]]

    # The ledger's rows about those that have another fate. Rows of `old` come first in it.
    ledger = join_ledgers([old, new])
    change = pd.Index(changes.video_identity).get_indexer(old.ledger["from"])
    changed = np.flatnonzero(change >= 0)
    fate = changes.iloc[change[changed]]
    for column in ("action", "other", "distance", "probability", "to"):
        ledger.loc[changed, column] = fate[column].to_numpy()

    return replace(new, labels=interleave(old_labels, new.labels, is_new), ledger=ledger)


def find_new(crops: pd.DataFrame, features: np.ndarray, earlier: Denoised) -> np.ndarray:
    """The rows of crops that an earlier result does not hold, int64 [n].

    Raises:
        CionError: the others are not just the earlier crops as they were.
    """
    # 1. The table and the features fit each other and the earlier result.
    check_shape(crops, features)
    dimension = earlier.probe.shape[1]
    if features.shape[1] != dimension:
        raise CionError(
            f"features: D is {features.shape[1]}, but {dimension} in the earlier result"
        )

    # 2. Every earlier crop is there, once.
    old = earlier.crops
    number = crops.crop.to_numpy()
    old_row = pd.Index(old.crop).get_indexer(number)
    known = np.flatnonzero(old_row >= 0)
    new = np.flatnonzero(old_row < 0)
    row_of_known = old_row[known]
    is_repeated = crops.crop.duplicated().to_numpy()
    _refuse("crops are there twice", number[is_repeated])
    is_gone = np.ones(len(old), bool)
    is_gone[row_of_known] = False
    _refuse("crops of the earlier result are not there", old.crop.to_numpy()[is_gone])

    # 3. It lies where it lay. A video of code -1 is new.
    view, views = pd.factorize(camera_views(crops), use_na_sentinel=False)
    video = old.video.cat.categories.get_indexer(views)[view]
    tracklet = crops.tracklet.to_numpy()
    now = {"video": video, "frame": crops.frame.to_numpy(), "tracklet": tracklet}
    then = {"video": old.video.cat.codes, "frame": old.frame, "tracklet": old.tracklet}
    for name, values in now.items():
        earlier_values = then[name].to_numpy()
        differs = values[known] != earlier_values[row_of_known]
        _refuse(f"crops have another {name} in the earlier result", number[known[differs]])

    # 4. New crops are of new videos and tracklets.
    inside = {"video": video[new] >= 0, "tracklet": np.isin(tracklet[new], old.tracklet)}
    for name, rows in inside.items():
        _refuse(f"new crops lie in a {name} of the earlier result", number[new[rows]])

    # 5. Features are the same, as far as probed. NaN is not.
    row_now = np.empty(len(old), np.int64)
    row_now[row_of_known] = known
    probed_row = pd.Index(old.crop).get_indexer(earlier.probed)
    probe = unit(np.asarray(features[row_now[probed_row]]))
    difference = np.abs(probe - earlier.probe).max(1, initial=0)
    is_same = difference <= SAME_FEATURE
    _refuse("crops have other features in the earlier result", earlier.probed[~is_same])
    return new


def take_probe(crops: pd.DataFrame, features: np.ndarray | Rows) -> tuple[np.ndarray, np.ndarray]:
    """PROBED crops at even distances, or all if they are fewer.

    Returns:
        Their numbers, int64 [P], and their features, [P, D].
    """
    count = min(len(crops), PROBED)
    places = np.linspace(0, len(crops) - 1, count)
    rows = np.unique(places.astype(np.int64))
    return crops.crop.to_numpy(np.int64)[rows], features[rows]


def _refuse(what: str, numbers: np.ndarray) -> None:
    """CionError about crops of these numbers, if there are any."""
    if len(numbers):
        raise CionError(
            f"earlier: {len(numbers)} {what}, first {numbers[:SHOWN].tolist()}; for other "
            "footage, denoise all anew"
        )
