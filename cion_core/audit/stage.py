"""The audit stage: what denoising is worth, by the truth where there is one, and by planted errors.

Only this stage reads the videos' truth (data/raw/truth.parquet). So a corrected truth does not
denoise anything again, and whoever wants to know who is on a crop reads what this stage wrote.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.audit import planted_errors, scores
from cion_core.denoise import pipeline
from cion_core.denoise import stage as denoising
from cion_core.denoise.checks import checked
from cion_core.denoise.settings import Denoise, Settings
from cion_core.neighbours.rows import Rows
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(p: Denoise, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write three files into root/audit.

    - truth.json: under `levels`, the scores before and after every level (`scores.against_truth`;
      before the first they are the tracker's); null without truth.
    - people.parquet: who is on each crop by the truth (tables.People); no rows without truth.
    - planted.json: how many planted errors each level repairs (`planted_errors.audit`); null where
      none could be planted.
    """
    table, features = denoising.read_table(root)
    persons = read_people(table, root)
    crops, features = checked(table, features)
    labels = {level: denoising.labels_after(crops, root, level) for level in tables.LEVELS}

    truth = None
    if persons is not None:
        truth = {"levels": score_levels(crops, labels, persons)}
    planted = plant(p, crops, features, root, runtime)

    with work.replaced(root / "audit") as out:
        work.write_json(out / "truth.json", truth)
        work.write_json(out / "planted.json", planted)
        tables.write(tables.People, _people_table(crops, persons), out / "people.parquet")
    for line in summaries(truth):
        say(f"audit: {line}")
    say(f"audit: {planted_errors.summary(planted)}")
    record(p, truth, planted, root)


def read_people(crops: pd.DataFrame, root: Path) -> np.ndarray | None:
    """The person of each crop by raw/truth.parquet, int64 [N], negative for nobody.

    Args:
        crops: by number, with the videos' own names, as `denoise.stage.read_table` returns them.
        root: the folder of all stages.

    Returns:
        None where there is no truth.
    """
    path = root / "raw/truth.parquet"
    if not path.is_file():
        return None
    truth = tables.read(tables.Truth, path)
    return None if truth.empty else scores.find_people(crops, truth)


def _people_table(crops: pd.DataFrame, persons: np.ndarray | None) -> pd.DataFrame:
    if persons is None:
        return tables.empty(tables.People)
    return pd.DataFrame({"crop": crops.crop, "person": persons})


def score_levels(
    crops: pd.DataFrame, labels: dict[str, np.ndarray], persons: np.ndarray
) -> dict[str, dict]:
    """The scores `before` and `after` each level.

    Args:
        crops: N of them.
        labels: int64 [N] after each level by its name, in their order.
        persons: int64 [N], who is on each crop.
    """
    before = scores.against_truth(crops, crops.tracklet.to_numpy(np.int64), persons)
    levels = {}
    for level, labels_after in labels.items():
        after = scores.against_truth(crops, labels_after, persons)
        levels[level] = {"before": before, "after": after}
        before = after
    return levels


def plant(
    p: Denoise, crops: pd.DataFrame, features: Rows, root: Path, runtime: Runtime = Runtime()
) -> dict | None:
    """How many errors planted into a sample each level repairs (`planted_errors.audit`).

    The thresholds are those that the levels went by. Calibrated anew, on a small sample with more
    errors than the footage has, they would be others. With `runtime.engine: ray` the levels run on
    the cluster, without and with the errors at once.
    """
    each = map
    if runtime.engine == "ray":
        from cion_core.cluster.mapped import mapped as each  # Ray is optional
    thresholds = {level: denoising.read_thresholds(root, level) for level in tables.LEVELS}
    levels = partial(_labels, settings=p.fixed(thresholds))
    return planted_errors.audit(crops, features, levels, p.min_crops, each=each)


def _labels(crops: pd.DataFrame, features: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    """The labels, int [N], after each level by its name."""
    return {level.name: level.labels for level in pipeline.run(crops, features, settings)}


def summaries(truth: dict | None) -> list[str]:
    """A line for a person about each level; none without truth.

    The last level links tracklets, so it is counted over tracklets, the others over crops.
    """
    if not truth:
        return []
    lines = []
    for level, found in truth["levels"].items():
        counted = "tracklets" if level == tables.LEVELS[-1] else "crops"
        before, after = found["before"][counted], found["after"][counted]
        figures = [f"{name} {before[name]:.2f} → {after[name]:.2f}" for name in after]
        lines.append(f"{level}: {counted}' {', '.join(figures)}")
    return lines


def record(p: Denoise, truth: dict | None, planted: dict | None, root: Path) -> None:
    """Send both to MLflow."""
    from cion_core import tracking

    files = [root / "audit" / name for name in ("truth.json", "planted.json")]
    with tracking.run("audit", "all", work.key(p.model_dump(), *files), p.model_dump()) as run:
        run.metrics(metrics(truth, planted))
        for file in files:
            run.artifact(file)


def metrics(truth: dict | None, planted: dict | None) -> dict[str, float]:
    """Both as flat numbers, such as tracklet_crops_f1_after and planted_swap_video."""
    numbers: dict[str, float] = {}
    levels = truth["levels"] if truth else {}
    for level, found in levels.items():
        for when, by_unit in found.items():
            for unit, figures in by_unit.items():
                for name, value in figures.items():
                    numbers[f"{level}_{unit}_{name}_{when}"] = value
    for kind, shares in planted_errors.numbers(planted).items():
        for name, value in shares.items():
            numbers[f"planted_{kind}_{name}"] = float(value)
    return numbers
