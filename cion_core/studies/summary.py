"""A study as one JSON: its rows, and each point's mean and spread over seeds.

It is written as CSV, and as a table for a terminal too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tabulate import tabulate

from cion_core.pretrain.methods import METHODS
from cion_core.studies.kinds.base import SCORES, Study

# Further columns, where a study has them: the title of each, and how many decimals.
NUMBERS = {
    "videos": ("videos", 0),
    "people": ("people", 0),
    "images": ("images", 0),
    "crops": ("crops", 0),
    "identities": ("identities", 0),
    "f1_crops": ("F1, crops", 1),
    "f1_tracklets": ("F1, tracklets", 1),
    "steps": ("steps", 0),
    "crops_seen": ("crops seen", 0),
}
# What is said of a lead, beside the point that it was measured at.
LEAD = ("better", "worse", "by", "spread", "ahead", "of")


def summarise(study: Study, rows: list[dict], data: Mapping[str, str]) -> dict:
    """All that is told of a study; what a report needs to draw it is in it.

    Args:
        study: of which.
        rows: of every point, method and seed.
        data: the files that it was made on, by their hashes.

    Returns:
        A dict for JSON: what the study is, how its methods are drawn (`styles`), `rows`, `means` as
        `average_over_seeds` and `leads` as `compare_methods` give them.
    """
    columns = list(study.points()[0])
    return {
        "name": study.name,
        "title": study.title,
        "about": study.about,
        "axis": study.axis,
        "panel": study.panel,
        "columns": columns,
        "numbers": {name: number for name, number in NUMBERS.items() if name in rows[0]},
        "backbone": study.shared.backbone,
        "benchmark": study.shared.benchmark,
        "styles": {method: _describe_style(method) for method in study.methods},
        "seeds": len(study.settings.seeds),
        "data": dict(data),
        "rows": rows,
        "means": average_over_seeds(rows, columns),
        "leads": compare_methods(rows, columns),
    }


def _describe_style(method: str) -> dict | None:
    """How a method says that it is drawn; None where it says nothing."""
    style = METHODS.named(method).style
    return style and {"colour": style.colour, "dash": style.dash}


def average_over_seeds(rows: list[dict], columns: list[str]) -> list[dict]:
    """A row for each point and method: NUMBERS and SCORES as means, and the spread of mAP.

    Args:
        rows: of every point, method and seed.
        columns: those that make a point.
    """
    keys = [*columns, "method"]
    means = []
    for values, group in pd.DataFrame(rows).groupby(keys, sort=False):
        mean = dict(zip(keys, values, strict=True))
        mean["seeds"] = len(group)
        for name in (*NUMBERS, *SCORES):
            if name in group:
                mean[name] = round(float(group[name].mean()), 2)
        mean["spread"] = standard_deviation(group.mAP)
        means.append(mean)
    return means


def compare_methods(rows: list[dict], columns: list[str]) -> list[dict]:
    """At each point, by how much the last method's mAP is above each other's, paired by seed.

    Args:
        rows: of every point, method and seed.
        columns: those that make a point.

    Returns:
        The columns, and LEAD: better and worse (methods), by (the mean), spread, and in how many
        seeds the better is `ahead`, `of` all.
    """
    table = pd.DataFrame(rows)
    *others, last = table.method.unique()
    leads = []
    for values, group in table.groupby(columns, sort=False):
        scores = group.pivot(index="seed", columns="method", values="mAP")
        for other in others:
            differences = scores[last] - scores[other]
            lead = dict(zip(columns, values, strict=True))
            lead["better"] = last
            lead["worse"] = other
            lead["by"] = round(float(differences.mean()), 2)
            lead["spread"] = standard_deviation(differences)
            lead["ahead"] = int((differences > 0).sum())
            lead["of"] = len(differences)
            leads.append(lead)
    return leads


def standard_deviation(values: pd.Series) -> float | None:
    """That of the sample, with two decimals; None of one value."""
    if len(values) < 2:
        return None
    return round(float(np.std(values, ddof=1)), 2)


def mean_scores(table: dict) -> dict[str, float]:
    """Mean mAP by a name of each point and method, for charts in MLflow."""
    scores = {}
    for mean in table["means"]:
        point = " ".join(str(mean[name]) for name in ("method", *table["columns"]))
        scores[f"mAP/{point}"] = mean["mAP"]
    return scores


def to_csv(table: dict) -> str:
    """Every row, of every seed."""
    text = io.StringIO()
    pd.DataFrame(table["rows"]).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def to_markdown(table: dict) -> str:
    """The means as a table, and under it which method is ahead, in percent."""
    names = [*table["columns"], "method"]
    titles = [title for title, _ in table["numbers"].values()]
    seeds = "1 seed" if table["seeds"] == 1 else f"{table['seeds']} seeds"
    head = [*names, *titles, f"mAP, {seeds}", "Rank-1"]

    lines = []
    for mean in table["means"]:
        line = [str(mean[name]) for name in names]
        for name, (_, decimals) in table["numbers"].items():
            line.append(f"{mean[name]:.{decimals}f}")
        line.append(format_mean(mean["mAP"], mean["spread"]))
        line.append(f"{mean['rank1']:.1f}")
        lines.append(line)

    sides = ["left"] * len(names) + ["right"] * (len(head) - len(names))
    drawn = tabulate(lines, head, tablefmt="pipe", colalign=sides, disable_numparse=True)
    title = f"{table['title']}: {table['backbone']} on {table['benchmark']}, percent"
    text = [title, "", drawn]
    if table["leads"]:
        text.append("")
        text += [describe_lead(lead) for lead in table["leads"]]
    return "\n".join(text)


def describe_lead(lead: dict) -> str:
    """`at share 0.1: cion over tracklet +1.2 ± 0.3 mAP, ahead in 3 of 3 seeds`."""
    point = ", ".join(f"{key} {value}" for key, value in lead.items() if key not in LEAD)
    difference = format_mean(lead["by"], lead["spread"], sign="+")
    methods = f"{lead['better']} over {lead['worse']}"
    seeds = f"{lead['ahead']} of {lead['of']} seeds"
    return f"at {point}: {methods} {difference} mAP, ahead in {seeds}"


def format_mean(mean: float, spread: float | None, sign: str = "") -> str:
    """Mean ± spread, with one decimal; `sign` + shows that of a positive mean too."""
    text = f"{mean:{sign}.1f}"
    return text if spread is None else f"{text} ± {spread:.1f}"
