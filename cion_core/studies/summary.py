"""A study as one JSON: its rows, and each point's mean and spread over seeds; as CSV, and as a table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tabulate import tabulate

from cion_core.pretrain.methods import METHODS
from cion_core.studies.kinds.base import SCORES, Study

NUMBERS = {  # further columns, where a study has them: the title of each, and how many decimals
    "videos": ("videos", 0), "people": ("people", 0), "images": ("images", 0), "crops": ("crops", 0),
    "identities": ("identities", 0), "f1_crops": ("F1, crops", 1), "f1_tracklets": ("F1, tracklets", 1),
    "steps": ("steps", 0), "crops_seen": ("crops seen", 0),
}  # fmt: skip


def of(study: Study, rows: list[dict], data: Mapping[str, str]) -> dict:
    """All that is told of a study; what a report needs to draw it is in it.

    data: the files that it was made on, by their hashes.
    """
    columns = list(study.points()[0])
    parts = {method: METHODS.named(method) for method in study.methods}
    return {
        "name": study.name, "title": study.title, "about": study.about, "axis": study.axis, "panel": study.panel,
        "columns": columns, "numbers": {name: number for name, number in NUMBERS.items() if name in rows[0]},
        "backbone": study.studies.backbone, "benchmark": study.studies.benchmark,
        "styles": {name: part.style and {"colour": part.style.colour, "dash": part.style.dash}
                   for name, part in parts.items()},
        "seeds": len(study.settings.seeds), "data": dict(data), "rows": rows,
        "means": means(rows, columns), "gains": gains(rows, columns),
    }  # fmt: skip


def means(rows: list[dict], columns: list[str]) -> list[dict]:
    """A row for each point and method: NUMBERS and SCORES as means over seeds, and the spread of mAP."""
    found = []
    for point, of_seeds in pd.DataFrame(rows).groupby([*columns, "method"], sort=False):
        numbers = {name: round(float(of_seeds[name].mean()), 2) for name in (*NUMBERS, *SCORES) if name in of_seeds}
        told = dict(zip([*columns, "method"], point, strict=True))
        found.append({**told, "seeds": len(of_seeds), **numbers, "spread": spread(of_seeds.mAP)})
    return found


def gains(rows: list[dict], columns: list[str]) -> list[dict]:
    """At each point, what the last method's mAP is above each other's: paired by seed, the mean, and its spread."""
    table, found = pd.DataFrame(rows), []
    *others, last = table.method.unique()
    for point, there in table.groupby(columns, sort=False):
        by = there.pivot(index="seed", columns="method", values="mAP")
        for other in others:
            gain = by[last] - by[other]
            told = {"better": last, "worse": other, "by": round(float(gain.mean()), 2), "spread": spread(gain)}
            ahead = {"ahead": int((gain > 0).sum()), "of": len(gain)}
            found.append({**dict(zip(columns, point, strict=True)), **told, **ahead})
    return found


def spread(values: pd.Series) -> float | None:
    """The sample standard deviation; None of one value."""
    return round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None


def headline(told: dict) -> dict[str, float]:
    """Mean mAP by a name of each point and method, for charts in MLflow."""
    return {"mAP/" + " ".join(str(mean[name]) for name in ("method", *told["columns"])): mean["mAP"]
            for mean in told["means"]}  # fmt: skip


def to_csv(told: dict) -> str:
    """Every row, of every seed."""
    text = io.StringIO()
    pd.DataFrame(told["rows"]).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def to_markdown(told: dict) -> str:
    """The means as a table, and under it which method is ahead, in percent."""
    head = [
        *told["columns"],
        "method",
        *(title for title, _ in told["numbers"].values()),
        f"mAP, {told['seeds']} seed{'s' if told['seeds'] > 1 else ''}",
        "Rank-1",
    ]
    lines = []
    for mean in told["means"]:
        first = [str(mean[name]) for name in (*told["columns"], "method")]
        counts = [f"{mean[name]:.{decimals}f}" for name, (_, decimals) in told["numbers"].items()]
        lines.append([*first, *counts, plus_minus(mean["mAP"], mean["spread"]), f"{mean['rank1']:.1f}"])
    sides = ["left"] * (len(told["columns"]) + 1) + ["right"] * (len(head) - len(told["columns"]) - 1)
    table = tabulate(lines, head, tablefmt="pipe", colalign=sides, disable_numparse=True)
    above = [f"{told['title']}: {told['backbone']} on {told['benchmark']}, percent"]
    return "\n".join([*above, "", table, *([""] if told["gains"] else []), *map(sentence, told["gains"])])


def sentence(gain: dict) -> str:
    """`at share 0.1: cion over tracklet +1.2 ± 0.3 mAP, ahead in 3 of 3 seeds`."""
    point = ", ".join(f"{key} {value}" for key, value in gain.items()
                      if key not in ("better", "worse", "by", "spread", "ahead", "of"))  # fmt: skip
    by = f"{gain['by']:+.1f}" + (f" ± {gain['spread']:.1f}" if gain["spread"] is not None else "")
    return f"at {point}: {gain['better']} over {gain['worse']} {by} mAP, ahead in {gain['ahead']} of {gain['of']} seeds"


def plus_minus(mean: float, spread: float | None) -> str:
    """Mean ± spread, with one decimal."""
    return f"{mean:.1f}" + (f" ± {spread:.1f}" if spread is not None else "")
