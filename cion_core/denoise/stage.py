"""The denoise stages: one level each, from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables, work
from cion_core.audit import scores as audit, planted_errors as injected
from cion_core.denoise import cross_video, incremental, single_video, state, tracklet
from cion_core.denoise.linking import sliding_range as sliding
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Level
from cion_core.denoise.noise import Noise
from cion_core.neighbours.rows import Rows
from cion_core.errors import CionError
from cion_core.progress import say

SHARED = {"radius", "false_link_rate", "min_crops", "cannot_link"}
OWN = {"tracklet": SHARED, "video": SHARED | {"separation"}}  # settings of a level, as in dvc.yaml; else all
SAVED = work.ROOT / "denoise/linking.npz"  # from which killed linking goes on; of other work it takes nothing


def run(p: params.Denoise, level: str, root: Path = Path("data")) -> None:
    """Write root/denoise/LEVEL as `state.write` does.

    Where that folder holds the result for some of the videos, and nothing else has changed, the others alone are
    denoised and linked to it.
    """
    crops, features = read_table(root)
    before, out = read_labels(crops, root, level), root / "denoise" / level
    videos = state.videos(crops, features, before, p.model_dump(include=OWN.get(level)))
    say(f"denoise: {level}, {len(crops)} crops in {crops.tracklet.nunique()} tracklets")
    if found := state.earlier(out, level, crops, videos):
        old, known = found
        new = np.flatnonzero(~known)
        say(f"denoise: {crops.video.iloc[new].nunique()} of {len(videos)} videos are new, and nothing else: they alone")
        table, values = checked(crops.iloc[new], features[new])
        done, _ = incremental.grown(old, table, values, before[new], ~known, p.min_crops, p.cannot_link)
        crops, features = crops.assign(video=crops.video.astype("category")), Rows(features)
    else:
        crops, features = checked(crops, features)
        done = apply(p, level, crops, features, before, saved=SAVED)
    if not (done.labels >= 0).any():
        raise CionError(
            f"denoise {level}: nothing is left of {len(crops)} crops at radius {done.noise.radius:.3g} and "
            f"denoise.min_crops {p.min_crops}; raise denoise.radius, lower denoise.min_crops, or look at extract"
        )
    story = done.audit(crops) | {"truth": against_truth(crops, before, done.labels, root)}
    if level == tables.LEVELS[-1]:
        story["injected"] = with_errors(p, crops, features, done.noise, root)
    state.write(done, crops, story, videos, out)
    if level == tables.LEVELS[-1]:
        SAVED.unlink(missing_ok=True)
    record(p, level, story, root)
    say(summary(story))


def apply(
    p: params.Denoise,
    level: str,
    crops: pd.DataFrame,
    features: np.ndarray,
    labels: np.ndarray,
    limit: Noise | None = None,
    saved: Path | None = None,
) -> Level:
    """One level with the settings of params.yaml, thresholds of its own if given, and level 3's work in progress."""
    limit = limit or Noise(p.radius_of(level), None if level == "tracklet" else p.separation_of(level))
    if level == "tracklet":
        return tracklet.denoise(crops, features, limit.radius, p.min_crops, p.false_link_rate, p.cannot_link)
    if level == "video":
        return single_video.denoise(crops, features, labels, limit, p.cannot_link, p.false_link_rate)
    size = {"all": None, "auto": sliding.fitting(features.shape[1])}.get(p.range, p.range)
    return cross_video.denoise(
        crops, features, labels, limit, p.linking, size, None if p.stride == "auto" else p.stride,
        p.cannot_link, p.centre, p.false_link_rate, saved,
    )  # fmt: skip


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


def read_limit(root: Path, level: str) -> Noise:
    """The thresholds that `level` went by."""
    story = state.read_story(root / "denoise" / level)
    return Noise(story["radius"], story["separation"])


def against_truth(crops: pd.DataFrame, before: np.ndarray, after: np.ndarray, root: Path) -> dict | None:
    """The scores of both labellings against truth.parquet; None without truth."""
    path = root / "raw/truth.parquet"
    if not path.is_file():
        return None
    truth = tables.read(tables.Truth, path)
    if truth.empty:
        return None
    persons = audit.people(crops, truth)
    return {
        "before": audit.against_truth(crops, before, persons),
        "after": audit.against_truth(crops, after, persons),
    }


def with_errors(p: params.Denoise, crops: pd.DataFrame, features: np.ndarray, last: Noise, root: Path) -> dict | None:
    """How many errors planted into a sample each level repairs, at the thresholds of this run (`last`: level 3's).

    Calibrated anew, on a small sample with more errors than the footage has, the thresholds would be others.
    """
    limits = {level: read_limit(root, level) for level in tables.LEVELS[:-1]} | {tables.LEVELS[-1]: last}

    def levels(crops: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
        labels, out = crops.tracklet.to_numpy(np.int64), {}
        for level, limit in limits.items():
            labels = out[level] = apply(p, level, crops, features, labels, limit).labels
        return out

    found = injected.audit(crops, features, levels, p.min_crops)
    say(f"denoise: {injected.summary(found)}")
    return found


def record(p: params.Denoise, level: str, story: dict, root: Path) -> None:
    """Log the audit and the calibration curves to MLflow."""
    from cion_core import tracking

    out = root / "denoise" / level
    key = work.key(p.model_dump(), out / "identities.parquet", out / "audit.json")
    with tracking.run("denoise", level, key, p.model_dump()) as run:
        numbers = {name: story[name] for name in ("crops", "tracklets", "identities", "radius", "separation")}
        for when in ("before", "after"):
            numbers |= {f"noise_{name}_{when}": value for name, value in story["noise"][when].items()}
            for over, scores in (story["truth"] or {when: {}})[when].items():
                numbers |= {f"{over}_{name}_{when}": value for name, value in scores.items()}
        for kind, shares in injected.numbers(story.get("injected")).items():
            numbers |= {f"injected_{kind}_{name}": value for name, value in shares.items()}
        run.metrics({name: float(value) for name, value in numbers.items() if value is not None})
        run.artifact(out / "audit.json")
        for name, curve in (story["calibration"] or {}).items():
            if curve["points"]:
                run.table(curve["points"], f"calibration-{name}.json")


def summary(story: dict) -> str:
    """One line for a person."""
    actions = ", ".join(f"{n} {action}" for action, n in story["actions"].items())
    line = f"denoise: {story['level']}: {story['identities']} identities of {story['crops']} crops ({actions})"
    if story["truth"]:
        before, after = (story["truth"][when]["tracklets" if story["level"] == "cross_video" else "crops"]
                         for when in ("before", "after"))  # fmt: skip
        line += "; " + ", ".join(f"{k} {before[k]:.2f} → {after[k]:.2f}" for k in after)
    return line
