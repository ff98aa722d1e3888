"""What the stages before left behind, as plain rows: evaluations, denoising levels, training histories."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from cion_core import tables
from cion_core.audit import planted_errors
from cion_core.errors import CionError
from cion_core.pretrain.sightings import sightings
from cion_core.project import Params
from cion_core.training.schedules import phase

STRIPES = "stripes"  # the evaluation without any training
SETTINGS = ("frozen", "finetuned")
SCORES = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
POINTS = 400  # of a training curve; a longer history is averaged over bins


def load_json(path: Path) -> dict | list:
    """The content of a stage's JSON; CionError where the stage has not run or the file is torn."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; the stage that writes it has not run (`dvc repro`)") from None
    except json.JSONDecodeError as error:
        raise CionError(f"{path}: not JSON ({error}); `dvc repro --force` the stage that writes it") from None


def models(p: Params) -> list[tuple[str, str]]:
    """The (method, backbone) pairs of this reproduction, as listed: folders of others are stale."""
    return [(method, backbone) for backbone in p.pretrain.backbones for method in p.pretrain.methods]


def evaluated(p: Params) -> list[str]:
    """The folders of evaluations: the weight-free features, then every model."""
    return [STRIPES, *("-".join(pair) for pair in models(p))]


def described(p: Params, root: Path) -> dict[str, dict]:
    """What each method says of itself: `about`, `style` and `phases`, by its name.

    The stages that ran a method have written it down, so the report need not load any.
    """
    told = [load_json(root / "evaluate" / name / "method.json") for name in evaluated(p)]
    return {method["name"]: method for method in told}


def comparison(p: Params, root: Path) -> list[dict]:
    """One row per model and setting, scores in percent with two decimals; frozen before fine-tuned."""
    rows = [row for name in evaluated(p) for row in load_json(root / "evaluate" / name / "metrics.json")]
    rows = [row | {score: round(row[score], 2) for score in SCORES} for row in rows]
    return sorted(rows, key=lambda row: SETTINGS.index(row["setting"]))  # stable: the order of names within each


def to_csv(rows: list[dict]) -> str:
    """The rows with a first column `model` that names each, for plots."""
    named = [{"model": " ".join((row["method"], row["backbone"], row["setting"])), **row} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(named[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.2f}" if k in SCORES else v for k, v in row.items()} for row in named)
    return text.getvalue()


def to_markdown(rows: list[dict]) -> str:
    """The rows as an aligned Markdown table, percent with one decimal."""
    names = ("method", "backbone", "setting", "benchmark")
    head = [*(name.capitalize() for name in names), *SCORES.values()]
    lines = [[*(row[name] for name in names), *(f"{row[score]:.1f}" for score in SCORES)] for row in rows]
    sides = ["left"] * len(names) + ["right"] * len(SCORES)
    return tabulate(lines, head, tablefmt="pipe", colalign=sides, disable_numparse=True) + "\n"


def labellings(root: Path) -> list[dict]:
    """The four labellings of the crops: as tracked, then after each level.

    Returns:
        Rows with `level` (None for the first), `crops`, `identities`, `noise` (outside and close_pairs, None
        where the level has no such threshold), `truth` (fractions by kind of pair; None without truth), and for
        a level `audit`, its audit.json.
    """
    audits = [load_json(root / "denoise" / level / "audit.json") for level in tables.LEVELS]
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    truth = load_json(root / "audit/truth.json")
    truth = truth["levels"] if truth else {}
    first = tables.LEVELS[0]
    rows = [
        {"level": None, "audit": None, "crops": len(crops), "identities": int(crops.tracklet.nunique()),
         "noise": audits[0]["noise"]["before"], "truth": truth[first]["before"] if truth else None}
    ]  # fmt: skip
    for audit in audits:
        level = audit["level"]
        rows.append(
            {"level": level, "audit": audit, "crops": audit["crops"], "identities": audit["identities"],
             "noise": audit["noise"]["after"], "truth": truth[level]["after"] if truth else None}
        )  # fmt: skip
    return rows


def seen(root: Path) -> pd.DataFrame:
    """How often each identity of the last level is seen, as `sightings` counts."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    kept = tables.read(tables.Identities, root / "denoise" / tables.LEVELS[-1] / "identities.parquet")
    crops = crops.loc[kept.crop]
    return sightings(kept.identity.to_numpy(), crops.tracklet.to_numpy(), crops.video.to_numpy())


def metrics(rows: list[dict], states: list[dict], planted: dict | None) -> dict[str, dict]:
    """Numbers by file name, for `dvc metrics`: a file per model, labelling and kind of planted error, in percent.

    DVC prints a file as a row and its keys as columns, so many small files read as a table; one large file
    would be a single line of a hundred columns.
    """
    files = {}
    for row in rows:
        name = "-".join(part for part in (row["method"], row["backbone"], row["setting"]) if part != "none")
        files[f"models/{name}.json"] = {score: row[score] for score in SCORES}
    for i, state in enumerate(states):
        values = {"crops": state["crops"], "identities": state["identities"]}
        values |= {k: state["noise"][k] for k in ("outside", "close_pairs") if state["noise"][k] is not None}
        if state["truth"]:
            values |= {k: round(100 * v, 2) for k, v in state["truth"]["crops"].items()}
            values["bcubed"] = {k: round(100 * v, 2) for k, v in state["truth"]["bcubed"].items()}
        files[f"denoise/{i}-{state['level'] or 'before'}.json"] = values
    return files | {f"denoise/planted-{kind}.json": n for kind, n in planted_errors.numbers(planted).items()}


SCHEDULED = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "teacher's momentum", "K": "K"}


def schedules(p: Params, root: Path, methods: dict[str, dict]) -> dict[str, pd.DataFrame]:
    """What each method's pre-training was run with, of the first backbone: step, and the columns of SCHEDULED.

    methods: as `described`. K, crops of an identity in a batch, is there where the run's length is given in steps.
    """
    found = {}
    for method in p.pretrain.methods:
        path = root / "pretrain" / f"{method}-{p.pretrain.backbones[0]}" / "history.csv"
        if not path.exists() or (history := pd.read_csv(path)).empty:
            continue
        if isinstance(p.pretrain.steps, int):
            phases = methods[method]["phases"]
            history["K"] = [phase(phases, step, len(history))[2] for step in range(len(history))]
        found[method] = history[["step", *(name for name in SCHEDULED if name in history)]]
    return found


def training(p: Params, root: Path) -> pd.DataFrame:
    """The losses of all runs in long form: stage, run, method, backbone, step, loss."""
    frames = []
    for stage in ("pretrain", "finetune"):
        for method, backbone in models(p):
            path = root / stage / f"{method}-{backbone}" / "history.csv"
            if not path.exists():  # `random` is not trained before fine-tuning
                continue
            history = pd.read_csv(path)
            if history.empty:
                continue
            bins = (history.index * min(POINTS, len(history))) // len(history)
            curve = history[["step", "loss"]].groupby(bins).mean().round(5)
            labels = {"stage": stage, "run": f"{method} {backbone}", "method": method, "backbone": backbone}
            frames.append(curve.assign(**labels)[[*labels, "step", "loss"]])
    columns = ["stage", "run", "method", "backbone", "step", "loss"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
