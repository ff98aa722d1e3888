"""Which differences of the comparison are more than chance.

Two kinds are measured: CION beside every other method, and each run beside what it began with.
Two models are paired on the same queries (`evaluate/certainty.py`). The p-values of what is read
together are corrected together (Holm): all methods beside CION in one state on one benchmark, and
all models of one run on one benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.evaluate import certainty, queries
from cion_core.project import Params
from cion_core.report.comparison import NO_BACKBONE, OWN, Evaluation, select_shown
from cion_core.zoo.card import FROZEN

# The score by which models are paired.
MAIN = "mAP"


@dataclass(frozen=True)
class Difference:
    """By how much one model is better than another, in mAP points.

    Attributes:
        one, other: the models.
        points: the mAP of `one` minus that of `other`.
        low, high: the 95 % interval; None where all queries show one person.
        real: whether p, corrected by `holm` over all pairs that are read together, is below
            `certainty.LEVEL`.
    """

    one: Evaluation
    other: Evaluation
    points: float
    low: float | None
    high: float | None
    real: bool

    def __str__(self) -> str:
        """`+3.1 (1.2 to 5.0)`, with the minus sign of typography."""
        text = f"{self.points:+z.1f}{format_interval(self.low, self.high)}"
        return text.replace("-", "−")


@dataclass(frozen=True)
class Certainty:
    """How sure the scores and the differences of the shown rows are.

    Attributes:
        scores: {metric: {value, low, high}} of each evaluation, as `certainty.intervals` tells.
        leads: CION minus another method's model in the same state, by the other model. Features
            without a backbone are compared with CION on the first backbone.
        gains: a model after its run minus the same before it, by the model after.
    """

    scores: dict[Evaluation, dict[str, dict[str, float | None]]]
    leads: dict[Evaluation, Difference]
    gains: dict[Evaluation, Difference]


def measure_certainty(params: Params, root: Path, rows: list[dict]) -> Certainty:
    """Measure the `Certainty` by the queries that the evaluations have left.

    Args:
        params: all of params.yaml.
        root: the data folder.
        rows: of the comparison; those that are not shown are left out.

    Raises:
        CionError: the queries of two models do not match.
    """

    @cache
    def read_queries(evaluation: Evaluation) -> pd.DataFrame:
        return tables.read(tables.Queries, evaluation.folder(root) / "queries.parquet")

    shown = select_shown(rows)
    scores = {}
    rows_of_state: dict[tuple[str, str], list[dict]] = {}
    for row in shown:
        evaluation = Evaluation.from_row(row)
        table = read_queries(evaluation)
        people = table["person"].to_numpy()
        scores[evaluation] = certainty.intervals(queries.from_table(table), people)
        rows_of_state.setdefault((row["benchmark"], row["run"]), []).append(row)

    leads, gains = {}, {}
    for state_rows in rows_of_state.values():
        for lead in compare_pairs(pair_with_own(state_rows), read_queries):
            leads[lead.other] = lead
        for gain in compare_pairs(_pair_with_start(params, state_rows), read_queries):
            gains[gain.one] = gain
    return Certainty(scores, leads, gains)


def compare_pairs(
    pairs: Iterable[tuple[Evaluation, Evaluation]],
    read_queries: Callable[[Evaluation], pd.DataFrame],
) -> list[Difference]:
    """The difference of each pair by MAIN, corrected for how many pairs there are.

    Args:
        pairs: (one, other).
        read_queries: gives the tables.Queries of an evaluation.
    """
    pairs = list(pairs)
    measured = []
    for one, other in pairs:
        aligned = queries.align(read_queries(one), read_queries(other))
        measured.append(certainty.paired(*aligned)[MAIN])
    corrected = certainty.holm([numbers["p"] for numbers in measured])

    differences = []
    for (one, other), numbers, p_value in zip(pairs, measured, corrected, strict=True):
        real = bool(p_value < certainty.LEVEL)
        ends = (numbers["low"], numbers["high"])
        differences.append(Difference(one, other, numbers["difference"], *ends, real))
    return differences


def pair_with_own(rows: list[dict]) -> list[tuple[Evaluation, Evaluation]]:
    """CION and each other model of one state, on the same backbone.

    Features without a backbone are paired with CION on the first; without CION there are no pairs.
    """
    own_rows = [row for row in rows if row["method"] == OWN]
    pairs = []
    for row in rows:
        if row["method"] == OWN:
            continue
        fitting = [own for own in own_rows if row["backbone"] in (own["backbone"], NO_BACKBONE)]
        if fitting:
            pairs.append((Evaluation.from_row(fitting[0]), Evaluation.from_row(row)))
    return pairs


def _pair_with_start(params: Params, rows: list[dict]) -> list[tuple[Evaluation, Evaluation]]:
    """Each model of one run, and the same before it; none for models that no run has touched."""
    pairs = []
    for row in rows:
        if row["run"] == FROZEN:
            continue
        after = Evaluation.from_row(row)
        start = params.finetune.runs[after.state].before or FROZEN
        pairs.append((after, Evaluation(after.benchmark, start, after.name)))
    return pairs


def describe_leads(leads: list[Difference], names: dict[Evaluation, str]) -> str:
    """What one model's differences say.

    For example: "stands 3.1 above dino (1.2 to 5.0), and is no more apart from lup than chance
    would have it".
    """
    real, doubtful = [], []
    for lead in leads:
        name = names[lead.other]
        if lead.real:
            side = "above" if lead.points >= 0 else "below"
            real.append(f"{abs(lead.points):.1f} {side} {name}{_interval_of_size(lead)}")
        else:
            doubtful.append(name)

    clauses = []
    if real:
        clauses.append(f"stands {join_words(real)}")
    if doubtful:
        clauses.append(f"is no more apart from {join_words(doubtful)} than chance would have it")
    return ", and ".join(clauses)


def join_words(words: list[str]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def format_interval(low: float | None, high: float | None) -> str:
    """` (−1.2 to 5.0)`, empty where there is none."""
    if low is None or high is None:
        return ""
    return f" ({low:z.1f} to {high:z.1f})".replace("-", "−")


def _interval_of_size(difference: Difference) -> str:
    """The interval of how far apart two are, whichever is better.

    A difference of -3, from -5 to -1, is "3 below", from 1 to 5.
    """
    low, high = difference.low, difference.high
    if low is None or high is None or difference.points >= 0:
        return format_interval(low, high)
    return format_interval(-high, -low)
