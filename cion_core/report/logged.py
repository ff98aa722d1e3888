"""The comparison as rows for MLflow: what each model is, what it scored, what it cost, and how it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import work
from cion_core.errors import CionError
from cion_core.project import Params
from cion_core.report.comparison import OWN, SCORES, STRIPES, WHAT, Evaluation, load_json, named
from cion_core.report.costs import Cost
from cion_core.tracking import ModelRow
from cion_core.zoo.card import FROZEN

COLUMNS = ("mAP", "rank1", "mINP")  # of SCORES
COSTS = {  # of costs.Cost, and the metric's name
    "parameters": "parameters", "flops": "FLOPs", "latency": "latency ms", "hours": "hours", "images": "images",
    "identities": "identities", "steps": "steps", "crops_seen": "crops seen",
}  # fmt: skip
POINTS = 100  # of a curve, enough for a chart that shows many


def models(
    p: Params, root: Path, rows: list[dict], states: list[dict], training: pd.DataFrame,
    costs: Mapping[Evaluation, Cost],
) -> list[ModelRow]:  # fmt: skip
    """A row of MLflow's for each row of the comparison.

    Args:
        p: all of params.yaml.
        root: the data folder.
        rows: as `comparison.comparison`.
        states: as `comparison.labellings`.
        training: as `comparison.training`.
        costs: as `costs.costs`; what nobody knows is left out.
    """
    right = {state["level"]: state["truth"]["crops"]["f1"] for state in states[1:] if state["truth"]}
    videos = {"data/raw": _hash(root / "raw/videos.parquet")}
    benchmarks = {name: _hash(root / f"benchmark/{name}/images.parquet") for name in p.benchmark.sources}
    found = []
    for row in rows:
        one = Evaluation.of(row)
        trained = one.name != STRIPES
        data = (videos if trained else {}) | {f"data/benchmark/{one.benchmark}": benchmarks[one.benchmark]}
        curves = _curves(training, row)
        metrics = {SCORES[score]: float(row[score]) for score in COLUMNS}
        known = {told: getattr(costs[one], name) for name, told in COSTS.items()}
        metrics |= {told: float(value) for told, value in known.items() if value is not None}
        if trained:
            metrics["seed"] = float(p.pretrain.seed if one.state == FROZEN else p.finetune.seed)
            level = load_json(one.folder(root) / "method.json").get("labels")
            metrics |= {"label F1": round(100 * right[level], 2)} if level in right else {}
        params = {name: str(row[name]) for name in WHAT}
        params |= {"settings": _settings(p, row), "data": work.key(data)[:8]}
        found.append(ModelRow(named(row), params, metrics, curves, data))
    return found


def headline(rows: list[dict]) -> tuple[str, dict[str, float]]:
    """The best model of each benchmark and the best of OWN: a description in Markdown, and mAPs by name."""
    lines, numbers = [], {}
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        there = sorted((row for row in rows if row["benchmark"] == benchmark), key=lambda row: -row["mAP"])
        own = [row for row in there if row["method"] == OWN][:1]
        for what, row in (("Best", there[0]), *((f"Best of {OWN}", row) for row in own)):
            lines.append(f"- {what} on **{benchmark}**: {named(row)}, mAP {row['mAP']:.1f}, Rank-1 {row['rank1']:.1f}")
            numbers[f"{what.lower()} mAP/{benchmark}"] = row["mAP"]
    return "\n".join([*lines, "", "The table and the report are among the artifacts."]), numbers


def _hash(path: Path) -> str:
    try:
        return work.sha256(path)
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; the stage that writes it has not run (`dvc repro`)") from None


def _settings(p: Params, row: dict) -> str:
    """A short hash of what params.yaml says of how the model of a row was trained and measured."""
    told = {"evaluate": p.evaluate.model_dump()}
    if row["method"] != STRIPES:
        told |= {name: getattr(p, name).model_dump() for name in ("extract", "embed", "denoise")}
        told["pretrain"] = {
            key: value for key, value in p.pretrain.own().items() if key not in ("methods", "backbones")
        }
        told["method"] = p.pretrain.settings(row["method"]).model_dump()
    if row["run"] != FROZEN:
        told["seed"] = p.finetune.seed
        told["runs"] = [
            [p.finetune.runs[run].model_dump(), p.finetune.numbers(run).model_dump()]
            for run in p.finetune.chain(row["run"])
        ]
    return work.key(told)[:8]


def _curves(training: pd.DataFrame, row: dict) -> dict[str, list[list[float]]]:
    """The loss of the model's last training: a row that was fine-tuned has no other's curve a second time."""
    stage, name = ("pretrain", "pre-training loss") if row["run"] == FROZEN else (row["run"], f"{row['run']} loss")
    of = (training.stage == stage) & (training.method == row["method"]) & (training.backbone == row["backbone"])
    curve = training.loc[of, ["step", "loss"]]
    if curve.empty:
        return {}
    few = np.unique(np.linspace(0, len(curve) - 1, POINTS).astype(int))
    return {name: [[round(step), loss] for step, loss in curve.iloc[few].itertuples(index=False)]}
