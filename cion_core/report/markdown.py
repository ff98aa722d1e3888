"""comparison.md: what `cion show` prints, for a terminal of 120 columns."""

from __future__ import annotations

from cion_core.report import costs, published
from cion_core.report.comparison import OWN, SCORES, TRANSFERRED, Evaluation, shown
from cion_core.report.costs import Cost
from cion_core.report.differences import Difference, Sure

COLUMNS = ("mAP", "rank1")
TOLD = """In mAP points on the same queries, with the 95 % interval of each by itself. “May be chance”: the queries
do not tell the two apart, all comparisons within one state taken together (Holm)."""
OTHERS = """Of others, in percent, as they have published it; nothing of it was measured here. “Ours” is what the table
above has of the same pre-training and backbone after training on this benchmark; recipes and data differ."""


def to_markdown(rows: list[dict], sure: Sure, found: dict[Evaluation, Cost], about: dict[str, dict]) -> str:
    """A table per benchmark of what is shown, percent with one decimal, and which differences are real, as lines.

    Where a benchmark is one that others have published on, their numbers stand in a table of their own below it.
    about: benchmark.json by the benchmark's name.
    """
    rows = shown(rows)
    several = len({row["backbone"] for row in rows} - {"none"}) > 1
    parts = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        of = [row for row in rows if row["benchmark"] == benchmark]
        parts.append(f"### {benchmark}\n\n{_table(of, sure, found)}\n")
        if name := published.recognised(about[benchmark]):
            parts.append(f"#### Published on {published.SETS[name]}\n\n{OTHERS}\n\n{_published(name, of)}\n")
    told = _lines(rows, sure, several)
    return "\n".join([*parts, TOLD, "", *told, ""] if told else parts)


def _table(rows: list[dict], sure: Sure, found: dict[Evaluation, Cost]) -> str:
    titles = costs.titles(found)
    head = ["Method", "Backbone", "Run (setting)", "mAP", "95 % interval", *(SCORES[name] for name in COLUMNS[1:])]
    head += [titles[name] for name in costs.SAW]
    lines = []
    for row in rows:
        known = sure.scores[Evaluation.of(row)]["mAP"]
        interval = "" if known["low"] is None else f"{known['low']:.1f} to {known['high']:.1f}"
        first, *others = (f"{row[name]:.1f}" for name in COLUMNS)
        cost = found[Evaluation.of(row)]
        others += [costs.told(cost, name) for name in costs.SAW]
        lines.append([row["method"], row["backbone"], _run(row), first, interval, *others])
    return _pipes(head, lines, "<<<" + ">" * (len(head) - 3))


def _published(name: str, rows: list[dict]) -> str:
    head = ["Pre-training", "Backbone", "Fine-tuning", "mAP", "Rank-1", "Source", "Ours (mAP, Rank-1)"]
    lines = [
        [one.pretraining, one.backbone, one.finetuning, f"{one.mAP:.1f}",
         "–" if one.rank1 is None else f"{one.rank1:.1f}", one.source, published.ours(one, rows)]
        for one in published.of(name, [row["backbone"] for row in rows])
    ]  # fmt: skip
    return _pipes(head, lines, "<<<>><<")


def _pipes(head: list[str], lines: list[list[str]], sides: str) -> str:
    """A table as Markdown has it, as narrow as can be; sides: < or > for each column."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = "|".join("-" * (width + 1) + ":" if side == ">" else ":" + "-" * (width + 1)
                    for width, side in zip(widths, sides, strict=True))  # fmt: skip

    def row(cells: list[str]) -> str:
        return (
            f"| {' | '.join(f'{cell:{side}{width}}' for cell, side, width in zip(cells, sides, widths, strict=True))} |"
        )

    return "\n".join([row(head), f"|{rule}|", *map(row, lines)])


def _lines(rows: list[dict], sure: Sure, several: bool) -> list[str]:
    """CION beside the others, in every state that was meant for the benchmark; then what its runs gave it."""
    beside, gave = [], []
    for row in rows:
        one = Evaluation.of(row)
        if row["setting"] == TRANSFERRED:
            continue
        if found := sure.beside.get(one):
            where = f"{one.state} on {one.benchmark}"
            beside.append(f"- {_own(found, several)} − {row['method']}, {where}: {_told(found)}")
        if row["method"] == OWN and (found := sure.gave.get(one)):
            where = f"{one.state} − {found.other.state} on {one.benchmark}"
            gave.append(f"- {_own(found, several)}, {where}: {_told(found)}")
    return [*beside, *gave]


def _own(difference: Difference, several: bool) -> str:
    """CION, and on which backbone where there are several."""
    return difference.one.name.replace("-", " ", 1) if several else OWN


def _told(difference: Difference) -> str:
    return f"{difference}" if difference.real else f"{difference}, may be chance"


def _run(row: dict) -> str:
    """`supervised (finetuned)`; a name that is the setting's stands alone."""
    return row["run"] if row["run"] == row["setting"] else f"{row['run']} ({row['setting']})"
