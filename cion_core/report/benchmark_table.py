"""The table of a benchmark: a line for each model, a group of columns for each state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cion_core.project import Params
from cion_core.report.comparison import TRANSFERRED, Evaluation
from cion_core.report.costs import PRETRAINING_COLUMNS, Cost, format_cost
from cion_core.report.differences import Certainty, Difference
from cion_core.zoo.card import FROZEN

# The scores of each state in the table; all SCORES stand below it.
COLUMNS = ("mAP", "rank1")
UP, DOWN = "▴", "▾"
# What a run did, by its setting; the recipe stands before it.
TRAININGS = {
    "frozen": "as pre-training left it",
    "finetuned": "fine-tuned on {source}",
    "unsupervised": "without labels, on {source}",
    "adapted": "adapted without labels, {source}",
    TRANSFERRED: "trained on {source} alone",
}


@dataclass(frozen=True)
class State:
    """What was done to the models of a group of columns.

    Attributes:
        name: `frozen`, or a run.
        recipe: of the run; empty where it is frozen.
        training: what was done, in words.
        start: the state that the run began with; empty where it is frozen.
        away: it was trained for other benchmarks alone.
    """

    name: str
    recipe: str
    training: str
    start: str
    away: bool


@dataclass(frozen=True)
class Cell:
    """One score of the table.

    Attributes:
        value: in percent.
        best: it is the highest of its column.
        low, high: the interval that it is in; None where there is none.
        mark: UP or DOWN where it differs from CION's by more than chance, else empty.
    """

    value: float
    best: bool
    low: float | None
    high: float | None
    mark: str


@dataclass(frozen=True)
class Line:
    """One model of the table.

    Attributes:
        method, backbone: of the model.
        about: what the method does.
        cells: for each state one cell for each of COLUMNS; None where it was not evaluated.
        gains: for each state what its run gave the model; None where that is not known.
        pretraining: `costs.PRETRAINING_COLUMNS`, for people.
    """

    method: str
    backbone: str
    about: str
    cells: list[list[Cell | None]]
    gains: list[Difference | None]
    pretraining: list[str]


def list_states(params: Params, rows: list[dict]) -> list[State]:
    """The states in the order of the rows. All rows of a run say the same of it."""
    row_of_run = {row["run"]: row for row in rows}
    states = []
    for name, row in row_of_run.items():
        start = ""
        if name != FROZEN:
            start = params.finetune.runs[name].before or FROZEN
        away = row["setting"] == TRANSFERRED
        states.append(State(name, row["recipe"], describe_training(row), start, away))
    return states


def describe_training(row: dict) -> str:
    """What was done to the model of a row, in words: fine-tuned on demo."""
    return TRAININGS[row["setting"]].format(source=row["source"])


def make_lines(
    rows: list[dict],
    states: list[State],
    certainty: Certainty,
    costs: dict[Evaluation, Cost],
    methods: dict[str, dict],
) -> list[Line]:
    """A line for each model of the rows, in their order."""
    best: dict[tuple[str, str], float] = {}
    rows_of_model: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        rows_of_model.setdefault((row["method"], row["backbone"]), {})[row["run"]] = row
        for score in COLUMNS:
            column = (row["run"], score)
            best[column] = max(row[score], best.get(column, row[score]))

    lines = []
    for (method, backbone), row_of_run in rows_of_model.items():
        cells, gains = [], []
        for state in states:
            row = row_of_run.get(state.name)
            if row is None:
                cells.append([None] * len(COLUMNS))
                gains.append(None)
                continue
            cells.append([_make_cell(row, score, best, certainty) for score in COLUMNS])
            gains.append(certainty.gains.get(Evaluation.from_row(row)))
        pretraining = format_costs(row_of_run[FROZEN], costs, PRETRAINING_COLUMNS)
        about = methods[method]["about"]
        lines.append(Line(method, backbone, about, cells, gains, pretraining))
    return lines


def _make_cell(
    row: dict,
    score: str,
    best: dict[tuple[str, str], float],
    certainty: Certainty,
) -> Cell:
    evaluation = Evaluation.from_row(row)
    interval = certainty.scores[evaluation][score]
    lead = certainty.leads.get(evaluation)
    mark = ""
    if score == "mAP" and lead is not None and lead.real:
        mark = DOWN if lead.points > 0 else UP
    value = row[score]
    is_best = value == best[row["run"], score]
    return Cell(value, is_best, interval["low"], interval["high"], mark)


def format_costs(row: dict, costs: dict[Evaluation, Cost], columns: Iterable[str]) -> list[str]:
    cost = costs[Evaluation.from_row(row)]
    return [format_cost(cost, column) for column in columns]
