"""Which differences of the comparison are more than chance: CION beside every other method, each run beside its start.

Two models are paired on the same queries (`evaluate/certainty.py`), and the p-values of what is read together are
corrected together (Holm): all methods beside CION in one state on one benchmark, all models of one run on one.
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
from cion_core.report.comparison import OWN, Evaluation, shown
from cion_core.zoo.card import FROZEN

MAIN = "mAP"  # what models are paired by


@dataclass(frozen=True)
class Difference:
    """How many mAP points `one` has more than `other`, and its 95 % interval (None where queries show one person).

    `real`: chance alone would hardly have made it, corrected for what it is compared beside.
    """

    one: Evaluation
    other: Evaluation
    by: float
    low: float | None
    high: float | None
    real: bool

    def __str__(self) -> str:
        """`+3.1 (1.2 to 5.0)`, with the minus sign of typography."""
        return f"{self.by:+z.1f}{interval(self.low, self.high)}".replace("-", "−")


@dataclass(frozen=True)
class Sure:
    """What is known of the rows that the report shows.

    Attributes:
        scores: {metric: {value, low, high}} of each evaluation, as `certainty.intervals` tells.
        beside: CION against another method's model, in the same state, by the other. Features without a backbone are
            set beside CION on the first.
        gave: a model after its run against before it, by the model after.
    """

    scores: dict[Evaluation, dict[str, dict[str, float | None]]]
    beside: dict[Evaluation, Difference]
    gave: dict[Evaluation, Difference]


def sure(p: Params, root: Path, rows: list[dict]) -> Sure:
    """`Sure` by the queries that the evaluations have left; CionError where those of two models do not match."""
    rows = shown(rows)

    @cache
    def read(one: Evaluation) -> pd.DataFrame:
        return tables.read(tables.Queries, one.folder(root) / "queries.parquet")

    scores = {}
    for row in rows:
        table = read(one := Evaluation.of(row))
        scores[one] = certainty.intervals(queries.from_table(table), table["person"].to_numpy())
    beside, gave = {}, {}
    for state in dict.fromkeys((row["benchmark"], row["run"]) for row in rows):
        of = [row for row in rows if (row["benchmark"], row["run"]) == state]
        beside |= {found.other: found for found in paired(_beside(of), read)}
        gave |= {found.one: found for found in paired(_before(p, of), read)}
    return Sure(scores, beside, gave)


def paired(
    pairs: Iterable[tuple[Evaluation, Evaluation]], read: Callable[[Evaluation], pd.DataFrame]
) -> list[Difference]:
    """The difference of each pair by MAIN, corrected for how many pairs there are. read: tables.Queries of one."""
    pairs = list(pairs)
    found = [certainty.paired(*queries.align(read(one), read(other)))[MAIN] for one, other in pairs]
    corrected = certainty.holm([told["p"] for told in found])
    return [
        Difference(*pair, told["difference"], told["low"], told["high"], bool(p < certainty.LEVEL))
        for pair, told, p in zip(pairs, found, corrected, strict=True)
    ]


def sentence(found: list[Difference], names: dict[Evaluation, str]) -> str:
    """What one model's differences say: "stands 3.1 above dino (1.2 to 5.0), and is no more apart from lup than …"."""
    told = [
        f"{abs(one.by):.1f} {'above' if one.by >= 0 else 'below'} {names[one.other]}{_magnitude(one)}"
        for one in found
        if one.real
    ]
    near = [names[one.other] for one in found if not one.real]
    stands = f"stands {listed(told)}" if told else ""
    chance = f"is no more apart from {listed(near)} than chance would have it" if near else ""
    return ", and ".join(filter(None, [stands, chance]))


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def interval(low: float | None, high: float | None) -> str:
    """` (−1.2 to 5.0)`, empty where there is none."""
    return "" if low is None or high is None else f" ({low:z.1f} to {high:z.1f})".replace("-", "−")


def _magnitude(found: Difference) -> str:
    """The interval of how far apart, whichever is above: a difference of -3 from -5 to -1 is 3 (1 to 5) below."""
    if found.low is None or found.high is None or found.by >= 0:
        return interval(found.low, found.high)
    return interval(-found.high, -found.low)


def _beside(rows: list[dict]) -> list[tuple[Evaluation, Evaluation]]:
    """CION and each other model of one state, on the same backbone."""
    own = [row for row in rows if row["method"] == OWN]
    pairs = []
    for row in rows:
        partner = next((one for one in own if row["backbone"] in (one["backbone"], "none")), None)
        if partner is not None and row["method"] != OWN:
            pairs.append((Evaluation.of(partner), Evaluation.of(row)))
    return pairs


def _before(p: Params, rows: list[dict]) -> list[tuple[Evaluation, Evaluation]]:
    """Each model of one run, and the same before it; none for models that no run has touched."""
    after = [Evaluation.of(row) for row in rows if row["run"] != FROZEN]
    return [(one, Evaluation(one.benchmark, p.finetune.runs[one.state].before or FROZEN, one.name)) for one in after]
