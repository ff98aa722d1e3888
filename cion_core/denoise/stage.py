"""The denoise stages: one level each, from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.denoise import incremental, pipeline, state
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Denoise, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours.rows import Rows
from cion_core.progress import say
from cion_core.runtime import Runtime

SAVED = work.ROOT / "denoise/linking.npz"  # from which killed linking goes on; of other work it takes nothing


def run(p: Denoise, level: str, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write root/denoise/LEVEL as `state.write` does: all crops denoised anew, or, where `p.earlier` names the folder
    of an earlier result, only those of videos that were added to it. Nothing of the runtime settings matters here."""
    crops, features = read_table(root)
    before, out = read_labels(crops, root, level), root / "denoise" / level
    videos = state.videos(crops, features, before, state.made_by(p, level))
    say(f"denoise: {level}, {len(crops)} crops in {crops.tracklet.nunique()} tracklets")
    if p.earlier is None:
        crops, features = checked(crops, features)
        done = pipeline.run_level(level, crops, features, before, p, SAVED)
    else:
        done = extended(p, level, crops, features, before, videos)
    if not (done.labels >= 0).any():
        raise CionError(
            f"denoise {level}: nothing is left of {len(crops)} crops at radius {done.thresholds.radius:.3g} and "
            f"denoise.min_crops {p.min_crops}; raise denoise.radius, lower denoise.min_crops, or look at extract"
        )
    story = done.audit(crops)
    state.write(done, crops, story, videos, out)
    if done.links:
        SAVED.unlink(missing_ok=True)
    record(p, level, story, root)
    say(summary(story))


def extended(
    p: Denoise, level: str, crops: pd.DataFrame, features: np.ndarray, before: np.ndarray, videos: pd.DataFrame
) -> Level:
    """A level, continued from `p.earlier`; crops by number, features and labels int64 [N] of all, and their videos
    as `state.videos` tells of them. If no video is new it is the earlier result."""
    old, known = state.earlier(Path(p.earlier) / level, level, crops, videos)
    new = np.flatnonzero(~known)
    if not len(new):
        say(f"denoise: none of {len(videos)} videos is new: the result is that of {p.earlier}")
        return old
    say(f"denoise: {crops.video.iloc[new].nunique()} of {len(videos)} videos are new, and nothing else: they alone")
    table, values = checked(crops.iloc[new], features[new])
    done, _ = incremental.grown(old, table, values, before[new], p, ~known)
    return done


def read_crops(root: Path) -> tuple[pd.DataFrame, Rows]:
    """The crops and their unit features, checked and sorted by crop number."""
    return checked(*read_table(root))


def read_table(root: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The crops by their number, and a memory map of their features, row i that of crop i."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    path = root / "embeddings/features.npy"
    try:
        features = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; the embed stage has not run (`dvc repro`)") from None
    except ValueError as error:
        raise CionError(f"{path}: not a NumPy array ({error}); embed again") from None
    if features.ndim != 2 or len(features) != len(crops):
        raise CionError(f"{path}: features: shape {features.shape}, but there are {len(crops)} crops; embed again")
    if crops.crop.is_monotonic_increasing:
        return crops, features
    order = np.argsort(crops.crop.to_numpy(), kind="stable")
    return crops.iloc[order].reset_index(drop=True), features[order]


def read_labels(crops: pd.DataFrame, root: Path, level: str) -> np.ndarray:
    """The labelling that `level` starts from, int64 [N]: tracklets, or what the level before it wrote, -1: none."""
    if level == tables.LEVELS[0]:
        return crops.tracklet.to_numpy(np.int64)
    return read_result(crops, root, tables.LEVELS[tables.LEVELS.index(level) - 1])


def read_result(crops: pd.DataFrame, root: Path, level: str) -> np.ndarray:
    """The labelling that `level` wrote, int64 [N], -1: none."""
    return state.read_labels(root / "denoise" / level, crops.crop.to_numpy())


def read_thresholds(root: Path, level: str) -> Thresholds:
    """The thresholds that `level` went by."""
    story = state.read_story(root / "denoise" / level)
    return Thresholds(story["radius"], story["separation"], story["cut"])


def record(p: Denoise, level: str, story: dict, root: Path) -> None:
    """Log the audit and the calibration curves to MLflow."""
    from cion_core import tracking

    out = root / "denoise" / level
    key = work.key(p.model_dump(), out / "identities.parquet", out / "audit.json")
    with tracking.run("denoise", level, key, p.model_dump()) as run:
        numbers = {name: story[name] for name in ("crops", "tracklets", "identities", "radius", "separation", "cut")}
        for when in ("before", "after"):
            numbers |= {f"noise_{name}_{when}": value for name, value in story["noise"][when].items()}
        run.metrics({name: float(value) for name, value in numbers.items() if value is not None})
        run.artifact(out / "audit.json")
        for name, curve in (story["calibration"] or {}).items():
            if curve["points"]:
                run.table(curve["points"], f"calibration-{name}.json")


def summary(story: dict) -> str:
    """One line for a person."""
    actions = ", ".join(f"{n} {action}" for action, n in story["actions"].items())
    return f"denoise: {story['level']}: {story['identities']} identities of {story['crops']} crops ({actions})"
