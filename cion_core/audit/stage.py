"""The audit stage: what denoising is worth, by the truth where there is one, and by planted errors.

It alone reads the truth. So another truth denoises nothing again, and whoever wants to know who is on a crop reads
what this stage wrote.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.audit import planted_errors, scores
from cion_core.denoise import pipeline
from cion_core.denoise import stage as denoising
from cion_core.denoise.checks import checked
from cion_core.denoise.settings import Denoise
from cion_core.neighbours.rows import Rows
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(p: Denoise, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write root/audit.

    truth.json: under levels, for every level the scores before and after it (`scores.against_truth`; before the first
    it is the tracker's); null without truth. people.parquet: who is on each crop by the truth (tables.People); no rows
    without. planted.json: how many planted errors each level repairs (`planted_errors.audit`); null where none could
    be planted.
    """
    table, features = denoising.read_table(root)
    persons = people(table, root)
    crops, features = checked(table, features)
    labels = {level: denoising.read_result(crops, root, level) for level in tables.LEVELS}
    truth = None if persons is None else {"levels": against_truth(crops, labels, persons)}
    planted = with_errors(p, crops, features, root)
    with work.replaced(root / "audit") as out:
        work.write_json(out / "truth.json", truth)
        work.write_json(out / "planted.json", planted)
        tables.write(tables.People, _table(crops, persons), out / "people.parquet")
    for line in summaries(truth):
        say(f"audit: {line}")
    say(f"audit: {planted_errors.summary(planted)}")
    record(p, truth, planted, root)


def people(crops: pd.DataFrame, root: Path) -> np.ndarray | None:
    """The person of each crop by raw/truth.parquet, int64 [N], negative for nobody; None without truth.

    crops: by their number, with the videos' own names, as `denoise.stage.read_table` returns them.
    """
    path = root / "raw/truth.parquet"
    if not path.is_file():
        return None
    truth = tables.read(tables.Truth, path)
    return None if truth.empty else scores.people(crops, truth)


def _table(crops: pd.DataFrame, persons: np.ndarray | None) -> pd.DataFrame:
    return tables.empty(tables.People) if persons is None else pd.DataFrame({"crop": crops.crop, "person": persons})


def against_truth(crops: pd.DataFrame, labels: dict[str, np.ndarray], persons: np.ndarray) -> dict[str, dict]:
    """The scores before and after each level; labels int64 [N] after each by its name, in order."""
    before, levels = scores.against_truth(crops, crops.tracklet.to_numpy(np.int64), persons), {}
    for level, after in labels.items():
        found = scores.against_truth(crops, after, persons)
        levels[level], before = {"before": before, "after": found}, found
    return levels


def with_errors(p: Denoise, crops: pd.DataFrame, features: Rows, root: Path) -> dict | None:
    """How many errors planted into a sample each level repairs, at the thresholds that the levels went by.

    Calibrated anew, on a small sample with more errors than the footage has, the thresholds would be others.
    """
    settings = p.fixed({level: denoising.read_thresholds(root, level) for level in tables.LEVELS})

    def levels(crops: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
        return {level.name: level.labels for level in pipeline.run(crops, features, settings)}

    return planted_errors.audit(crops, features, levels, p.min_crops)


def summaries(truth: dict | None) -> list[str]:
    """A line for each level, for a person; none without truth. Level 3 is counted over tracklets, as it links them."""
    lines = []
    for level, found in truth["levels"].items() if truth else ():
        over = "tracklets" if level == tables.LEVELS[-1] else "crops"
        before, after = found["before"][over], found["after"][over]
        lines.append(f"{level}: {over}' " + ", ".join(f"{k} {before[k]:.2f} → {after[k]:.2f}" for k in after))
    return lines


def record(p: Denoise, truth: dict | None, planted: dict | None, root: Path) -> None:
    """Log both to MLflow."""
    from cion_core import tracking

    files = [root / "audit" / name for name in ("truth.json", "planted.json")]
    with tracking.run("audit", "all", work.key(p.model_dump(), *files), p.model_dump()) as run:
        run.metrics(metrics(truth, planted))
        for file in files:
            run.artifact(file)


def metrics(truth: dict | None, planted: dict | None) -> dict[str, float]:
    """Both as flat numbers: tracklet_crops_f1_after, planted_swap_video."""
    numbers = {
        f"{level}_{over}_{name}_{when}": value
        for level, found in (truth["levels"] if truth else {}).items()
        for when, by in found.items()
        for over, values in by.items()
        for name, value in values.items()
    }
    for kind, shares in planted_errors.numbers(planted).items():
        numbers |= {f"planted_{kind}_{name}": float(value) for name, value in shares.items()}
    return numbers
