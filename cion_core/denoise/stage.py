"""The denoise stages: one level each, from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.denoise import incremental, pipeline, state, unchanged
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Denoise, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours.rows import Rows
from cion_core.progress import say
from cion_core.runtime import Runtime

# Killed linking goes on from this file, if it is of the same work.
SAVED = work.ROOT / "denoise/linking.npz"


def run(p: Denoise, level: str, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write root/denoise/LEVEL, as `state.write_level` does.

    Args:
        p: the settings. If `p.earlier` names the folder of an earlier result, only videos that were
            added since are denoised; else all are.
        level: one of `tables.LEVELS`.
        runtime: not used; every stage is given it.
        root: the folder of all stages.

    Raises:
        CionError: an input is missing or does not fit, or the level leaves nothing.
    """
    crops, features = read_table(root)
    before = read_labels(crops, root, level)
    videos = unchanged.describe_videos(crops, features, before, unchanged.made_by(p, level))
    say(f"denoise: {level}, {len(crops)} crops in {crops.tracklet.nunique()} tracklets")
    if p.earlier is None:
        table, values = checked(crops, features)
        done = pipeline.run_level(level, table, values, before, p, SAVED)
    else:
        done = _continue(p, level, crops, features, before, videos)
    if not (done.labels >= 0).any():
        raise CionError(
            f"denoise {level}: nothing is left of {len(crops)} crops at radius "
            f"{done.thresholds.radius:.3g} and denoise.min_crops {p.min_crops}; "
            "raise denoise.radius, lower denoise.min_crops, or look at extract"
        )
    audit = done.audit(crops)
    state.write_level(done, crops, audit, videos, root / "denoise" / level)
    if done.links:
        SAVED.unlink(missing_ok=True)
    record(p, level, audit, root)
    say(summary(audit))


def _continue(
    p: Denoise,
    level: str,
    crops: pd.DataFrame,
    features: np.ndarray,
    before: np.ndarray,
    videos: pd.DataFrame,
) -> Level:
    """A level that goes on from `p.earlier`: only new videos are denoised.

    Args:
        p: the settings.
        level: one of `tables.LEVELS`.
        crops: all crops, by number.
        features: [N, D], of all.
        before: int64 [N], the labelling of all that comes into the level.
        videos: `unchanged.describe_videos` of them.
    """
    folder = Path(p.earlier) / level
    old, known = unchanged.earlier_level(folder, level, crops, videos)
    new = np.flatnonzero(~known)
    if not len(new):
        say(f"denoise: none of {len(videos)} videos is new: the result is that of {p.earlier}")
        return old
    new_videos = crops.video.iloc[new].nunique()
    say(f"denoise: {new_videos} of {len(videos)} videos are new; only these are denoised")
    table, values = checked(crops.iloc[new], features[new])
    done, _ = incremental.extend_level(old, table, values, before[new], p, ~known)
    return done


def read_crops(root: Path) -> tuple[pd.DataFrame, Rows]:
    """The crops and their unit features, checked and sorted by crop number."""
    return checked(*read_table(root))


def read_table(root: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The crops by number, and their features: a memory map [N, D], row i that of row i.

    Raises:
        CionError: a file is missing, or there is not one feature for each crop.
    """
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    path = root / "embeddings/features.npy"
    try:
        features = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; the embed stage has not run (`dvc repro`)"
        ) from None
    except ValueError as error:
        raise CionError(f"{path}: not a NumPy array ({error}); embed again") from None
    if features.ndim != 2 or len(features) != len(crops):
        raise CionError(
            f"{path}: features: shape {features.shape}, but there are {len(crops)} crops; embed "
            "again"
        )
    if crops.crop.is_monotonic_increasing:
        return crops, features
    order = np.argsort(crops.crop.to_numpy(), kind="stable")
    return crops.iloc[order].reset_index(drop=True), features[order]


def read_labels(crops: pd.DataFrame, root: Path, level: str) -> np.ndarray:
    """The labelling that a level starts from, int64 [N], -1: none.

    For the first level that is the tracklets, for others what the level before wrote.
    """
    if level == tables.LEVELS[0]:
        return crops.tracklet.to_numpy(np.int64)
    before = tables.LEVELS[tables.LEVELS.index(level) - 1]
    return read_result(crops, root, before)


def read_result(crops: pd.DataFrame, root: Path, level: str) -> np.ndarray:
    """The labelling that a level wrote, int64 [N], -1: none."""
    return state.read_labels(root / "denoise" / level, crops.crop.to_numpy())


def read_thresholds(root: Path, level: str) -> Thresholds:
    """The thresholds that a level went by."""
    return state.thresholds(state.read_audit(root / "denoise" / level))


def record(p: Denoise, level: str, audit: dict, root: Path) -> None:
    """Send the audit and the calibration curves to MLflow."""
    from cion_core import tracking

    out = root / "denoise" / level
    key = work.key(p.model_dump(), out / "identities.parquet", out / "audit.json")
    names = ("crops", "tracklets", "identities", "radius", "separation", "cut")
    numbers = {name: audit[name] for name in names}
    for when in ("before", "after"):
        for name, value in audit["noise"][when].items():
            numbers[f"noise_{name}_{when}"] = value
    with tracking.run("denoise", level, key, p.model_dump()) as run:
        run.metrics({name: float(value) for name, value in numbers.items() if value is not None})
        run.artifact(out / "audit.json")
        for name, curve in (audit["calibration"] or {}).items():
            if curve["points"]:
                run.table(curve["points"], f"calibration-{name}.json")


def summary(audit: dict) -> str:
    """One line about a level for a person."""
    actions = ", ".join(f"{count} {action}" for action, count in audit["actions"].items())
    reasons = ", ".join(f"{count} by {rule}" for rule, count in audit["dropped_by"].items())
    return (
        f"denoise: {audit['level']}: {audit['identities']} identities of {audit['crops']} crops "
        f"({actions}{'; dropped: ' if reasons else ''}{reasons})"
    )
