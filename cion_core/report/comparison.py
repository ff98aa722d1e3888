"""What the stages before left behind, as plain rows: evaluations, denoising levels, training histories."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd

from cion_core import params, tables
from cion_core.audit import planted_errors as injected
from cion_core.errors import CionError
from cion_core.training.schedules import phase

METHODS = {
    "stripes": "Colour histograms of horizontal stripes: no training, no weights",
    "random": "Starting weights, never pre-trained",
    "lup": "MoCo v2 tuned for person images, every crop its own class",
    "pnl": "Cross-entropy, prototypes and contrast on a tracker’s identities, corrected on the way",
    "dino": "Self-distillation, every crop its own identity (K = 1)",
    "tracklet": "CION’s loss on identities of single videos (levels ① ②)",
    "cion": "CION’s loss on identities linked across videos (① ② ③)",
}
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


def models(p: params.Params) -> list[tuple[str, str]]:
    """The (method, backbone) pairs of this reproduction: folders of pairs no longer in params.yaml are stale."""
    ranked = sorted(p.pretrain.methods, key=list(METHODS).index)
    return [(method, backbone) for backbone in p.pretrain.backbones for method in ranked]


def comparison(p: params.Params, root: Path) -> list[dict]:
    """One row per model and setting, scores in percent with two decimals; frozen before fine-tuned."""
    names = ["stripes", *("-".join(pair) for pair in models(p))]
    rows = [row for name in names for row in load_json(root / "evaluate" / name / "metrics.json")]
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
    lines = [[name.capitalize() for name in names] + list(SCORES.values())]
    lines += [[row[name] for name in names] + [f"{row[score]:.1f}" for score in SCORES] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * w if i < len(names) else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    aligned = [
        [
            cell.ljust(w) if i < len(names) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]]) + "\n"


def labellings(root: Path) -> list[dict]:
    """The four labellings of the crops: as tracked, then after each level.

    Returns:
        Rows with `level` (None for the first), `crops`, `identities`, `noise` (outside and close_pairs, None
        where the level has no such threshold), `truth` (fractions by kind of pair; None without truth), and for
        a level `audit`, its audit.json.
    """
    audits = [load_json(root / "denoise" / level / "audit.json") for level in tables.LEVELS]
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    first, truth = audits[0], audits[0]["truth"]
    rows = [
        {"level": None, "audit": None, "crops": len(crops), "identities": int(crops.tracklet.nunique()),
         "noise": first["noise"]["before"], "truth": truth and truth["before"]}
    ]  # fmt: skip
    for audit in audits:
        truth = audit["truth"]
        rows.append(
            {"level": audit["level"], "audit": audit, "crops": audit["crops"], "identities": audit["identities"],
             "noise": audit["noise"]["after"], "truth": truth and truth["after"]}
        )  # fmt: skip
    return rows


def metrics(rows: list[dict], states: list[dict]) -> dict[str, dict]:
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
    last = states[-1]["audit"] or {}
    return files | {f"denoise/planted-{kind}.json": n for kind, n in injected.numbers(last.get("injected")).items()}


SCHEDULED = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "teacher's momentum", "K": "K"}


def schedules(p: params.Params, root: Path) -> dict[str, pd.DataFrame]:
    """What each method's pre-training was run with, of the first backbone: step, and the columns of SCHEDULED.

    K, crops of an identity in a batch, is there where the run's length is given in steps.
    """
    found = {}
    for method in p.pretrain.methods:
        path = root / "pretrain" / f"{method}-{p.pretrain.backbones[0]}" / "history.csv"
        if not path.exists() or (history := pd.read_csv(path)).empty:
            continue
        if isinstance(p.pretrain.steps, int):
            phases = getattr(getattr(p.pretrain, method), "instances", [(0.0, 1)])
            history["K"] = [phase(phases, step, len(history))[2] for step in range(len(history))]
        found[method] = history[["step", *(name for name in SCHEDULED if name in history)]]
    return found


def training(p: params.Params, root: Path) -> pd.DataFrame:
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
