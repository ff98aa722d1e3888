"""The comparison as rows for MLflow: what each model is, scored, cost, and how it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import work
from cion_core.errors import CionError
from cion_core.project import Params
from cion_core.report.comparison import (
    DESCRIPTION,
    NOT_RUN,
    OWN,
    SCORES,
    STRIPES,
    Evaluation,
    list_distinct,
    load_json,
    name_row,
)
from cion_core.report.costs import Cost
from cion_core.tracking import ModelRow
from cion_core.zoo.card import FROZEN

# The scores of the comparison that MLflow is given.
COLUMNS = ("mAP", "rank1", "mINP")
# The columns of costs.Cost that MLflow is given, and the metric that each becomes.
COST_METRICS = {
    "parameters": "parameters",
    "flops": "FLOPs",
    "latency": "latency ms",
    "hours": "hours",
    "images": "images",
    "identities": "identities",
    "steps": "steps",
    "crops_seen": "crops seen",
}
# Points of a curve: enough for a chart that shows many.
CURVE_POINTS = 100
HASH_DIGITS = 8
# Settings of pre-training that say which models there are, not how one is trained.
MODEL_LISTS = ("methods", "backbones")


def make_rows(
    params: Params,
    root: Path,
    rows: list[dict],
    labellings: list[dict],
    losses: pd.DataFrame,
    costs: Mapping[Evaluation, Cost],
) -> list[ModelRow]:
    """A row of MLflow's for each row of the comparison.

    Args:
        params: all of params.yaml.
        root: the data folder.
        rows: as `comparison.read_rows` gives them.
        labellings: as `labellings.describe_labellings` gives them.
        losses: as `trainings.read_losses` gives them.
        costs: as `costs.read_costs` gives them; what nobody knows is left out.

    Raises:
        CionError: the stage that writes one of these files has not run.
    """
    videos = {"data/raw": _hash_file(root / "raw/videos.parquet")}
    benchmarks = {}
    for name in params.benchmark.sources:
        benchmarks[name] = _hash_file(root / f"benchmark/{name}/images.parquet")

    model_rows = []
    for row in rows:
        evaluation = Evaluation.from_row(row)
        data = {f"data/benchmark/{evaluation.benchmark}": benchmarks[evaluation.benchmark]}
        metrics = {SCORES[score]: float(row[score]) for score in COLUMNS}
        metrics |= _cost_metrics(costs[evaluation])
        if evaluation.name != STRIPES:
            data = videos | data
            seeds = params.pretrain if evaluation.state == FROZEN else params.finetune
            metrics["seed"] = float(seeds.seed)
            metrics |= _label_quality(evaluation, root, labellings)

        described = {name: str(row[name]) for name in DESCRIPTION}
        described["settings"] = _hash_settings(params, row)
        described["data"] = work.key(data)[:HASH_DIGITS]
        curves = thin_curve(losses, row)
        model_rows.append(ModelRow(name_row(row), described, metrics, curves, data))
    return model_rows


def _hash_file(path: Path) -> str:
    try:
        return work.sha256(path)
    except FileNotFoundError:
        raise CionError(f"{path}: {NOT_RUN}") from None


def _cost_metrics(cost: Cost) -> dict[str, float]:
    metrics = {}
    for column, title in COST_METRICS.items():
        value = getattr(cost, column)
        if value is not None:
            metrics[title] = float(value)
    return metrics


def _label_quality(evaluation: Evaluation, root: Path, labellings: list[dict]) -> dict[str, float]:
    """F1 of the labels that a method was pre-trained on; empty without labels or without truth."""
    level = load_json(evaluation.folder(root) / "method.json").get("labels")
    for labelling in labellings:
        if level and labelling["level"] == level and labelling["truth"]:
            return {"label F1": round(100 * labelling["truth"]["crops"]["f1"], 2)}
    return {}


def _hash_settings(params: Params, row: dict) -> str:
    """A short hash of what params.yaml says of how the model of a row was trained and measured."""
    settings = {"evaluate": params.evaluate.model_dump()}
    if row["method"] != STRIPES:
        for section in ("extract", "embed", "denoise"):
            settings[section] = getattr(params, section).model_dump()
        pretraining = params.pretrain.own()
        for key in MODEL_LISTS:
            pretraining.pop(key)
        settings["pretrain"] = pretraining
        settings["method"] = params.pretrain.settings(row["method"]).model_dump()
    if row["run"] != FROZEN:
        settings["seed"] = params.finetune.seed
        settings["runs"] = []
        for run in params.finetune.chain(row["run"]):
            own = params.finetune.runs[run].model_dump()
            settings["runs"].append([own, params.finetune.settings_of_run(run).model_dump()])
    return work.key(settings)[:HASH_DIGITS]


def thin_curve(losses: pd.DataFrame, row: dict) -> dict[str, list[list[float]]]:
    """The loss of the model's last training, as at most CURVE_POINTS of [step, loss].

    A fine-tuned model has the curve of its run alone; that of its pre-training stands at the frozen
    model.

    Returns:
        The curve by its name; empty where nothing was trained.
    """
    training = row["run"]
    name = f"{training} loss"
    if row["run"] == FROZEN:
        training = "pretrain"
        name = "pre-training loss"
    of_model = (losses.method == row["method"]) & (losses.backbone == row["backbone"])
    curve = losses.loc[of_model & (losses.training == training), ["step", "loss"]]
    if curve.empty:
        return {}
    places = np.linspace(0, len(curve) - 1, CURVE_POINTS).astype(int)
    thinned = curve.iloc[np.unique(places)]
    return {name: [[round(step), loss] for step, loss in thinned.itertuples(index=False)]}


def describe_best(rows: list[dict]) -> tuple[str, dict[str, float]]:
    """The best model of each benchmark, and the best of OWN.

    Returns:
        A description in Markdown, and mAP by name.
    """
    lines, numbers = [], {}
    for benchmark in list_distinct(rows, "benchmark"):
        there = [row for row in rows if row["benchmark"] == benchmark]
        there.sort(key=lambda row: -row["mAP"])
        chosen = {"Best": there[0]}
        own_rows = [row for row in there if row["method"] == OWN]
        if own_rows:
            chosen[f"Best of {OWN}"] = own_rows[0]

        for title, row in chosen.items():
            scores = f"mAP {row['mAP']:.1f}, Rank-1 {row['rank1']:.1f}"
            lines.append(f"- {title} on **{benchmark}**: {name_row(row)}, {scores}")
            numbers[f"{title.lower()} mAP/{benchmark}"] = row["mAP"]
    lines += ["", "The table and the report are among the artifacts."]
    return "\n".join(lines), numbers
