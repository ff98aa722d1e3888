"""comparison.md: what `cion show` prints, for a terminal of 120 columns."""

from __future__ import annotations

from cion_core.report import published
from cion_core.report.comparison import (
    NO_BACKBONE,
    OWN,
    SCORES,
    TRANSFERRED,
    Evaluation,
    list_distinct,
    select_shown,
)
from cion_core.report.costs import PRETRAINING_COLUMNS, UNKNOWN, Cost, column_titles, format_cost
from cion_core.report.differences import Certainty, Difference

ABOUT_DIFFERENCES = """\
In mAP points on the same queries, with the 95 % interval of each by itself. “May be chance”: the
queries do not tell the two apart, all comparisons within one state taken together (Holm)."""
ABOUT_PUBLISHED = """\
Of others, in percent, as they have published it; nothing of it was measured here. “Ours” is what
the table above has of the same pre-training and backbone after training on this benchmark; recipes
and data differ."""


def to_markdown(
    rows: list[dict],
    certainty: Certainty,
    costs: dict[Evaluation, Cost],
    descriptions: dict[str, dict],
) -> str:
    """A table per benchmark of the rows that are shown, and below which differences are real.

    Scores are in percent with one decimal. Where a benchmark is one that others have published on,
    their numbers stand in a table of their own.

    Args:
        rows: of the comparison.
        certainty: of the rows that are shown.
        costs: as `costs.read_costs` gives them.
        descriptions: benchmark.json by the benchmark's name.
    """
    shown = select_shown(rows)
    parts = []
    for benchmark in list_distinct(shown, "benchmark"):
        own_rows = [row for row in shown if row["benchmark"] == benchmark]
        parts.append(f"### {benchmark}\n\n{_tabulate_rows(own_rows, certainty, costs)}\n")
        dataset = published.recognise(descriptions[benchmark])
        if dataset:
            title = f"#### Published on {published.SETS[dataset]}"
            table = _tabulate_published(dataset, own_rows)
            parts.append(f"{title}\n\n{ABOUT_PUBLISHED}\n\n{table}\n")

    differences = _list_differences(shown, certainty)
    if differences:
        parts += [ABOUT_DIFFERENCES, "", *differences, ""]
    return "\n".join(parts)


def _tabulate_rows(rows: list[dict], certainty: Certainty, costs: dict[Evaluation, Cost]) -> str:
    titles = column_titles(costs)
    head = ["Method", "Backbone", "Run (setting)", "mAP", "95 % interval", SCORES["rank1"]]
    head += [titles[column] for column in PRETRAINING_COLUMNS]
    lines = []
    for row in rows:
        model = Evaluation.from_row(row)
        known = certainty.scores[model]["mAP"]
        interval = ""
        if known["low"] is not None:
            interval = f"{known['low']:.1f} to {known['high']:.1f}"
        line = [row["method"], row["backbone"], _name_run(row)]
        line += [f"{row['mAP']:.1f}", interval, f"{row['rank1']:.1f}"]
        line += [format_cost(costs[model], column) for column in PRETRAINING_COLUMNS]
        lines.append(line)
    return _draw_table(head, lines, "<<<" + ">" * (len(head) - 3))


def _name_run(row: dict) -> str:
    """`supervised (finetuned)`; a name that is the setting's stands alone."""
    if row["run"] == row["setting"]:
        return row["run"]
    return f"{row['run']} ({row['setting']})"


def _tabulate_published(dataset: str, rows: list[dict]) -> str:
    head = ["Pre-training", "Backbone", "Fine-tuning", "mAP", "Rank-1"]
    head += ["Source", "Ours (mAP, Rank-1)"]
    lines = []
    for result in published.select_results(dataset, [row["backbone"] for row in rows]):
        rank1 = UNKNOWN if result.rank1 is None else f"{result.rank1:.1f}"
        line = [result.pretraining, result.backbone, result.finetuning, f"{result.mAP:.1f}", rank1]
        line += [result.source, published.format_ours(result, rows)]
        lines.append(line)
    return _draw_table(head, lines, "<<<>><<")


def _draw_table(head: list[str], lines: list[list[str]], sides: str) -> str:
    """A table in Markdown, as narrow as it can be.

    Args:
        head: the titles of the columns.
        lines: the cells.
        sides: < or > for each column, where its text stands.
    """
    widths = []
    for column in zip(head, *lines, strict=True):
        widths.append(max(len(cell) for cell in column))

    def draw_line(cells: list[str]) -> str:
        padded = []
        for cell, side, width in zip(cells, sides, widths, strict=True):
            padded.append(f"{cell:{side}{width}}")
        return f"| {' | '.join(padded)} |"

    rules = []
    for side, width in zip(sides, widths, strict=True):
        rule = "-" * (width + 1)
        rules.append(f"{rule}:" if side == ">" else f":{rule}")
    drawn = [draw_line(line) for line in lines]
    return "\n".join([draw_line(head), f"|{'|'.join(rules)}|", *drawn])


def _list_differences(rows: list[dict], certainty: Certainty) -> list[str]:
    """CION minus the others, in every state that was meant for the benchmark; then its gains."""
    several = len({row["backbone"] for row in rows} - {NO_BACKBONE}) > 1
    leads, gains = [], []
    for row in rows:
        if row["setting"] == TRANSFERRED:
            continue
        model = Evaluation.from_row(row)
        lead = certainty.leads.get(model)
        if lead:
            rival = f"{row['method']}, {model.state} on {model.benchmark}"
            leads.append(f"- {_name_own(lead, several)} − {rival}: {_format_difference(lead)}")
        gain = certainty.gains.get(model)
        if gain and row["method"] == OWN:
            states = f"{model.state} − {gain.other.state} on {model.benchmark}"
            gains.append(f"- {_name_own(gain, several)}, {states}: {_format_difference(gain)}")
    return [*leads, *gains]


def _name_own(difference: Difference, several: bool) -> str:
    """CION, and on which backbone where there are several."""
    if several:
        return difference.one.name.replace("-", " ", 1)
    return OWN


def _format_difference(difference: Difference) -> str:
    if difference.real:
        return str(difference)
    return f"{difference}, may be chance"
