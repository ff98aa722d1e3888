"""What each model of the comparison cost and saw, beside how well it finds people.

Counted numbers come from cards and evaluations, and are the same in every run. Timed ones lie in
`costs/` alone, which no stage depends on: a training that took longer makes no other result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cion_core.project import Params
from cion_core.report.comparison import STRIPES, Evaluation, list_evaluations, load_json
from cion_core.zoo.card import FROZEN, read_json

# Shown beside the scores in the table; the page has the other columns too.
PRETRAINING_COLUMNS = ("images", "identities", "hours")
# In comparison.csv: what is the same in every run.
COUNTED = ("images", "identities", "crops_seen", "parameters", "flops")
# Titles of columns, in the order of the page.
TITLES = {
    "images": "Images",
    "identities": "Identities",
    "steps": "Steps",
    "crops_seen": "Crops seen",
    "hours": "Time",
    "parameters": "Parameters",
    "flops": "FLOPs",
    "latency": "Latency, ms",
}
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
# From which count on, in which unit, with which letter.
UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
UNKNOWN = "–"


@dataclass(frozen=True)
class Cost:
    """The cost of one evaluated model; None is what nobody has told, or what others have trained.

    Attributes:
        parameters: of the model as evaluated, as `evaluate.cost.counted` counts.
        flops: likewise.
        images: that pre-training learnt from.
        identities: that pre-training learnt from; None for a method that is told no identities.
        steps: of pre-training.
        crops_seen: in pre-training; an image counts as often as it was seen.
        hours: of all training, pre-training and runs added up, each process with its own.
        device: where that was: CPU, GPU, or both; empty where nothing was trained.
        latency: milliseconds from one image to its feature, the median, where it was evaluated.
    """

    parameters: int
    flops: int
    images: int | None
    identities: int | None
    steps: int | None
    crops_seen: int | None
    hours: float | None
    device: str
    latency: float | None


def read_costs(params: Params, root: Path) -> dict[Evaluation, Cost]:
    """The cost of every evaluation of this reproduction.

    Raises:
        CionError: a stage has not run; it names the file that is missing.
    """
    return {one: _read_cost(params, root, one) for one in list_evaluations(params)}


def format_cost(cost: Cost, column: str) -> str:
    """A column of TITLES for people: 11.2 M, 0.5; UNKNOWN where nothing is known."""
    value = getattr(cost, column)
    if value is None:
        return UNKNOWN
    if column == "hours":
        return format_hours(value)
    if column == "latency":
        return f"{value:.1f}"
    return format_count(value)


def format_count(count: int) -> str:
    """A count in few digits: 4381, 12.9 k, 11.2 M, 4.1 G."""
    for least, unit, letter in UNITS:
        if count >= least:
            return f"{count / unit:.1f} {letter}"
    return str(count)


def format_hours(hours: float) -> str:
    """Hours for people: 3.2 h, and minutes where it was less than one."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min"


def select_counted(costs: dict[Evaluation, Cost]) -> dict[Evaluation, dict[str, int | None]]:
    """The columns of COUNTED alone."""
    counted = {}
    for evaluation, cost in costs.items():
        counted[evaluation] = {column: getattr(cost, column) for column in COUNTED}
    return counted


def column_titles(costs: dict[Evaluation, Cost]) -> dict[str, str]:
    """TITLES, in which the column of hours says whose time it is."""
    return TITLES | {"hours": title_of_hours(costs)}


def title_of_hours(costs: dict[Evaluation, Cost]) -> str:
    """CPU time, or GPU time; Time where both were used, or nothing was trained."""
    devices = {cost.device for cost in costs.values() if cost.device}
    if len(devices) == 1:
        return f"{devices.pop()} time"
    return "Time"


def _read_cost(params: Params, root: Path, evaluation: Evaluation) -> Cost:
    counted = load_json(evaluation.folder(root) / "cost.json")
    timed_folder = root / "costs/evaluate" / evaluation.benchmark / evaluation.state
    latency = load_json(timed_folder / f"{evaluation.name}.json")["milliseconds"]
    if evaluation.name == STRIPES:
        return Cost(
            **counted,
            images=None,
            identities=None,
            steps=None,
            crops_seen=None,
            hours=None,
            device="",
            latency=latency,
        )

    extra = read_json(root / "pretrain" / evaluation.name).get("extra", {})
    # What the training of others cost is not known.
    trained_by_others = "weights" in extra
    trainings = [load_json(path) for path in _time_files(params, root, evaluation)]
    hours = sum(training["seconds"] * training["processes"] for training in trainings) / 3600
    devices = {DEVICES[training["device"]] for training in trainings if training["seconds"]}
    return Cost(
        **counted,
        images=None if trained_by_others else extra.get("images", 0),
        identities=extra.get("identities"),
        steps=None if trained_by_others else extra["steps"],
        crops_seen=None if trained_by_others else extra["steps"] * extra["batch"],
        hours=None if trained_by_others else hours,
        device=" and ".join(sorted(devices)),
        latency=latency,
    )


def _time_files(params: Params, root: Path, evaluation: Evaluation) -> list[Path]:
    """Where pre-training, and each run that the model has gone through, wrote down their time."""
    folders = ["pretrain"]
    if evaluation.state != FROZEN:
        folders += [f"finetune/{run}" for run in params.finetune.chain(evaluation.state)]
    return [root / "costs" / folder / f"{evaluation.name}.json" for folder in folders]
