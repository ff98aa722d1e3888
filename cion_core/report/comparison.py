"""The rows of the comparison: one for each evaluation that the stages before have left."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cion_core.audit import planted_errors
from cion_core.errors import CionError
from cion_core.project import Params
from cion_core.zoo.card import FROZEN

# The method that the report is about: others stand beside it.
OWN = "cion"
# The name of the evaluation without any training, and what stands for its backbone.
STRIPES = "stripes"
NO_BACKBONE = "none"
# The setting of a run that was not trained for the benchmark.
TRANSFERRED = "transferred"
SCORES = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
NOT_RUN = "no such file; the stage that writes it has not run (`dvc repro`)"
# What a row says beside its scores.
DESCRIPTION = ("method", "backbone", "benchmark", "setting", "run", "recipe", "source")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, as its stage left it.

    Attributes:
        benchmark: on which it was made.
        state: what was done to the model: a run of `finetune.runs`, or FROZEN.
        name: of the model: METHOD-BACKBONE, or the method alone where it has no backbone.
    """

    benchmark: str
    state: str
    name: str

    @classmethod
    def from_row(cls, row: dict) -> Evaluation:
        """The evaluation that a row of the comparison is about."""
        name = row["method"]
        if row["backbone"] != NO_BACKBONE:
            name = f"{row['method']}-{row['backbone']}"
        return cls(row["benchmark"], row["run"], name)

    def folder(self, root: Path) -> Path:
        """Where its files lie."""
        return root / "evaluate" / self.benchmark / self.state / self.name


def load_json(path: Path) -> dict | list:
    """Read the JSON of a stage.

    Raises:
        CionError: the stage has not run, or the file is torn.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CionError(f"{path}: {NOT_RUN}") from None
    except json.JSONDecodeError as error:
        advice = "`dvc repro --force` the stage that writes it"
        raise CionError(f"{path}: not JSON ({error}); {advice}") from None


def list_models(params: Params) -> list[tuple[str, str]]:
    """The (method, backbone) pairs of params.yaml. Folders of other models are stale."""
    methods = params.pretrain.methods
    return [(method, backbone) for backbone in params.pretrain.backbones for method in methods]


def list_evaluations(params: Params) -> list[Evaluation]:
    """All evaluations of this reproduction, benchmark by benchmark.

    The frozen models come first, and among them the features that need no weights.
    """
    models = ["-".join(pair) for pair in list_models(params)]
    models_of_state = {FROZEN: [STRIPES, *models]}
    for run in params.finetune.runs:
        models_of_state[run] = models

    evaluations = []
    for benchmark in params.benchmark.sources:
        for state, names in models_of_state.items():
            evaluations += [Evaluation(benchmark, state, name) for name in names]
    return evaluations


def describe_methods(params: Params, root: Path) -> dict[str, dict]:
    """What each method says of itself: `about`, `style` and `phases`, by its name.

    The stages that ran a method have written it down, so the report need not load any.
    """
    described = {}
    for evaluation in list_evaluations(params):
        if evaluation.state == FROZEN:
            method = load_json(evaluation.folder(root) / "method.json")
            described[method["name"]] = method
    return described


def read_rows(params: Params, root: Path) -> list[dict]:
    """One row per evaluation, in their order: DESCRIPTION, and SCORES in percent, two decimals."""
    rows = []
    for evaluation in list_evaluations(params):
        measured = load_json(evaluation.folder(root) / "metrics.json")
        row = {key: measured[key] for key in DESCRIPTION}
        for score in SCORES:
            row[score] = round(measured[score], 2)
        rows.append(row)
    return rows


def select_shown(rows: list[dict]) -> list[dict]:
    """The rows that a person is shown, benchmark by benchmark; transferred runs come last.

    Transferred runs are shown only if they have learnt from labels. What a run without labels does
    on another benchmark says little, and stands in the files alone.
    """
    supervised = {row["run"] for row in rows if row["setting"] == "finetuned"}
    shown = [row for row in rows if row["setting"] != TRANSFERRED or row["run"] in supervised]
    benchmarks = list_distinct(rows, "benchmark")

    def place(row: dict) -> tuple[int, bool]:
        return benchmarks.index(row["benchmark"]), row["setting"] == TRANSFERRED

    return sorted(shown, key=place)


def list_distinct(rows: list[dict], column: str) -> list[str]:
    """The values of a column, each once, in the order in which they come."""
    return list(dict.fromkeys(row[column] for row in rows))


def name_row(row: dict) -> str:
    """A row's name for people: `cion resnet50 supervised on market`."""
    parts = [row["method"], row["backbone"], row["run"], "on", row["benchmark"]]
    return " ".join(part for part in parts if part != NO_BACKBONE)


def to_csv(rows: list[dict], counted: Mapping[Evaluation, dict]) -> str:
    """The rows as CSV, for plots.

    Args:
        rows: as `read_rows` gives them.
        counted: further columns for each evaluation, which stand last.

    Returns:
        The text. Its first column, `model`, names each row.
    """
    lines = []
    for row in rows:
        line = {"model": name_row(row), **row, **counted[Evaluation.from_row(row)]}
        line |= {score: f"{row[score]:.2f}" for score in SCORES}
        lines.append(line)

    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def metrics_by_file(
    rows: list[dict],
    labellings: list[dict],
    planted: dict | None,
) -> dict[str, dict]:
    """The numbers for `dvc metrics`, in percent, by the name of the file that they go to.

    There is a file for each model, labelling and kind of planted error. DVC prints a file as a row
    and its keys as columns, so many small files read as a table; one large file would be a single
    line of a hundred columns.

    Args:
        rows: as `read_rows` gives them.
        labellings: as `labellings.describe_labellings` gives them.
        planted: the audit's planted.json.
    """
    files = {}
    for row in rows:
        parts = [row["method"], row["backbone"], row["run"]]
        name = "-".join(part for part in parts if part != NO_BACKBONE)
        files[f"models/{row['benchmark']}/{name}.json"] = {score: row[score] for score in SCORES}

    for number, labelling in enumerate(labellings):
        name = labelling["level"] or "before"
        files[f"denoise/{number}-{name}.json"] = _labelling_metrics(labelling)

    for kind, numbers in planted_errors.numbers(planted).items():
        files[f"denoise/planted-{kind}.json"] = numbers
    return files


def _labelling_metrics(labelling: dict) -> dict:
    """The numbers of one labelling; noise and truth as far as they are known."""
    values = {"crops": labelling["crops"], "identities": labelling["identities"]}
    for kind in ("outside", "close_pairs"):
        noise = labelling["noise"][kind]
        if noise is not None:
            values[kind] = noise

    truth = labelling["truth"]
    if truth:
        values |= _in_percent(truth["crops"])
        values["bcubed"] = _in_percent(truth["bcubed"])
    return values


def _in_percent(fractions: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * fraction, 2) for name, fraction in fractions.items()}


def scores_by_name(rows: list[dict]) -> dict[str, float]:
    """mAP and Rank-1 in percent by BENCHMARK/RUN/METHOD-BACKBONE/SCORE, for MLflow's charts."""
    scores = {}
    for row in rows:
        evaluation = Evaluation.from_row(row)
        for score in ("mAP", "rank1"):
            name = f"{evaluation.benchmark}/{evaluation.state}/{evaluation.name}/{score}"
            scores[name] = row[score]
    return scores
