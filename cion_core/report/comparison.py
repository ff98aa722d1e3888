"""What the stages before left behind, as plain rows: evaluations, denoising levels, training histories."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.audit import planted_errors
from cion_core.errors import CionError
from cion_core.pretrain.sightings import sightings
from cion_core.project import Params
from cion_core.training.schedules import phase
from cion_core.zoo.card import FROZEN

OWN = "cion"  # the method that the report is about: others stand beside it
STRIPES = "stripes"  # the evaluation without any training
SCORES = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
WHAT = ("method", "backbone", "benchmark", "setting", "run", "recipe", "source")  # of a row, beside its scores
TRANSFERRED = "transferred"  # the setting of a run that was not trained for the benchmark
POINTS = 400  # of a training curve; a longer history is averaged over bins


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as its stage left it: the model's name, what was done to it (a run, or FROZEN), and where."""

    benchmark: str
    state: str
    name: str

    @classmethod
    def of(cls, row: dict) -> Evaluation:
        """The one that a row of the comparison tells of."""
        name = row["method"] if row["backbone"] == "none" else f"{row['method']}-{row['backbone']}"
        return cls(row["benchmark"], row["run"], name)

    def folder(self, root: Path) -> Path:
        """Where its files lie."""
        return root / "evaluate" / self.benchmark / self.state / self.name


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


def evaluations(p: Params) -> list[Evaluation]:
    """All of this reproduction: benchmark by benchmark, frozen first, the weight-free features before the models."""
    names = ["-".join(pair) for pair in models(p)]
    states = {FROZEN: [STRIPES, *names]} | dict.fromkeys(p.finetune.runs, names)
    return [
        Evaluation(benchmark, state, name)
        for benchmark in p.benchmark.sources
        for state, those in states.items()
        for name in those
    ]


def described(p: Params, root: Path) -> dict[str, dict]:
    """What each method says of itself: `about`, `style` and `phases`, by its name.

    The stages that ran a method have written it down, so the report need not load any.
    """
    told = [load_json(one.folder(root) / "method.json") for one in evaluations(p) if one.state == FROZEN]
    return {method["name"]: method for method in told}


def comparison(p: Params, root: Path) -> list[dict]:
    """One row per evaluation, in their order: WHAT, and scores in percent with two decimals."""
    rows = [load_json(one.folder(root) / "metrics.json") for one in evaluations(p)]
    return [{key: row[key] for key in WHAT} | {score: round(row[score], 2) for score in SCORES} for row in rows]


def shown(rows: list[dict]) -> list[dict]:
    """The rows that a person is shown, benchmark by benchmark: runs that were not meant for it last.

    Of these, only such as have learnt from labels: what a run without labels does elsewhere says little, and stands in
    the files alone.
    """
    supervised = {row["run"] for row in rows if row["setting"] == "finetuned"}
    kept = [row for row in rows if row["setting"] != TRANSFERRED or row["run"] in supervised]
    order = list(dict.fromkeys(row["benchmark"] for row in rows))
    return sorted(kept, key=lambda row: (order.index(row["benchmark"]), row["setting"] == TRANSFERRED))


def named(row: dict) -> str:
    """A name of a row for people: cion resnet50 supervised on market."""
    return " ".join(
        part for part in (row["method"], row["backbone"], row["run"], "on", row["benchmark"]) if part != "none"
    )


def to_csv(rows: list[dict], beside: Mapping[Evaluation, dict]) -> str:
    """The rows with a first column `model` that names each, for plots, and behind them what stands `beside` each."""
    told = [{"model": named(row), **row, **beside[Evaluation.of(row)]} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(told[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.2f}" if k in SCORES else v for k, v in row.items()} for row in told)
    return text.getvalue()


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
        name = "-".join(part for part in (row["method"], row["backbone"], row["run"]) if part != "none")
        files[f"models/{row['benchmark']}/{name}.json"] = {score: row[score] for score in SCORES}
    for i, state in enumerate(states):
        values = {"crops": state["crops"], "identities": state["identities"]}
        values |= {k: state["noise"][k] for k in ("outside", "close_pairs") if state["noise"][k] is not None}
        if state["truth"]:
            values |= {k: round(100 * v, 2) for k, v in state["truth"]["crops"].items()}
            values["bcubed"] = {k: round(100 * v, 2) for k, v in state["truth"]["bcubed"].items()}
        files[f"denoise/{i}-{state['level'] or 'before'}.json"] = values
    return files | {f"denoise/planted-{kind}.json": n for kind, n in planted_errors.numbers(planted).items()}


def numbers(rows: list[dict]) -> dict[str, float]:
    """mAP and Rank-1 in percent by BENCHMARK/RUN/METHOD-BACKBONE/SCORE, for MLflow's charts."""
    found = {}
    for row in rows:
        one = Evaluation.of(row)
        found |= {f"{one.benchmark}/{one.state}/{one.name}/{score}": row[score] for score in ("mAP", "rank1")}
    return found


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
    """The losses of all trainings in long form: stage (pretrain, or a run), run, method, backbone, step, loss."""
    frames = []
    places = {"pretrain": root / "pretrain"} | {run: root / "finetune" / run for run in p.finetune.runs}
    for stage, place in places.items():
        for method, backbone in models(p):
            path = place / f"{method}-{backbone}" / "history.csv"
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
