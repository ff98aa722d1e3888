"""Studies on the page: of each that was run on this footage, its picture and its table."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cion_core import work
from cion_core.report import plots
from cion_core.report.comparison import load_json

SCALAR = (int, float)
LABEL_F1 = {"f1_crops": ("pairs of crops", "#23a08c", "solid"), "f1_tracklets": ("of tracklets", "#d9772b", "dashed")}
WORDS = {
    "none": "no level", "tracklet": "①", "video": "①②", "cross_video": "①②③", "truth": "true",
    "identities": "fewer people, all images of each", "images": "all people, fewer images of each",
}  # fmt: skip
SPACE = "http://www.w3.org/2000/svg"


def told(root: Path) -> list[dict]:
    """What the page says of each study: as its file has it, and drawn.

    `other`: it was made on other footage, or measured on another benchmark, than what lies in `root` now; then there is
    nothing to draw.
    """
    found = []
    for name in load_json(root / "listing/studies.json"):
        study = load_json(root / "reports/studies" / f"{name}.json")
        if any(not (root / file).is_file() or work.sha256(root / file) != was for file, was in study["data"].items()):
            found.append({**study, "other": True})
            continue
        found.append({**study, "other": False, "chart": chart(study), "words": WORDS})
    return found


def alone(study: dict) -> str:
    """The chart as a file of its own, on white."""
    start = f'<svg xmlns="{SPACE}" xmlns:xlink="http://www.w3.org/1999/xlink" style="color: #1b2330; background: #fff"'
    return chart(study).replace("<svg", start, 1) + "\n"


def chart(study: dict) -> str:
    """mAP against what is studied: each seed a dot, their mean a line, the spread a bar; beside it the labels' F1."""
    rows, (column, label) = pd.DataFrame(study["rows"]), study["axis"]
    of = study["panel"]
    panels = (
        [(str(WORDS.get(value, value)), rows[rows[of] == value]) for value in rows[of].unique()] if of else [("", rows)]
    )
    judged = [name for name in LABEL_F1 if name in rows]
    styles = plots.styles({name: {"style": style} for name, style in study["styles"].items()})
    with matplotlib.rc_context(plots.RC):
        count = len(panels) + bool(judged)
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        for panel, (title, there) in zip(axes, panels, strict=False):
            panel.set_title(title, fontsize=9.5, loc="left")
            for method, of_method in there.groupby("method", sort=False):
                colour, dash = styles[method]
                _line(panel, of_method, column, "mAP", method, colour, dash)
            _axis(panel, there, column, label)
            panel.set_ylabel("mAP, %")
            panel.set_ylim(0, 1.1 * rows.mAP.max())
        if judged:
            labelled = rows.drop_duplicates([*study["columns"], "seed"])  # they are the same for every method
            for name in judged:
                _line(axes[-1], labelled, column, name, *LABEL_F1[name])
            axes[-1].set_title("how right the identities are", fontsize=9.5, loc="left")
            axes[-1].set_ylabel("F1, %")
            axes[-1].set_ylim(0, 105)
            axes[-1].legend(frameon=False, handlelength=3)
            _axis(axes[-1], rows, column, label)
        axes[0].legend(frameon=False, handlelength=3)
    said = (f"{' '.join(str(mean[c]) for c in study['columns'])} {mean['method']} {mean['mAP']:.1f}"
            for mean in study["means"])  # fmt: skip
    return plots.svg(figure, f"{study['title']}, mAP: " + "; ".join(said))


def _line(panel: Axes, rows: pd.DataFrame, column: str, value: str, name: str, colour: str, dash) -> None:
    places = _places(rows, column)
    seeds = rows.groupby(column, sort=False)[value]
    mean, spread = seeds.mean(), seeds.std(ddof=1).fillna(0)
    at = [places[key] for key in mean.index]
    panel.errorbar(at, mean, spread, color=colour, linestyle=dash, linewidth=1.7, capsize=3, elinewidth=1, label=name)
    panel.scatter([places[key] for key in rows[column]], rows[value], s=9, color=colour, alpha=0.5, linewidths=0)


def _places(rows: pd.DataFrame, column: str) -> dict:
    """Where each value of the axis is: a share as percent, words one after another."""
    values = rows[column].unique()
    return {v: 100 * v if isinstance(v, SCALAR) else i for i, v in enumerate(values.tolist())}


def _axis(panel: Axes, rows: pd.DataFrame, column: str, label: str) -> None:
    places = _places(rows, column)
    shares = all(isinstance(value, SCALAR) for value in places)
    panel.set_xticks(list(places.values()), [f"{100 * v:g}" if shares else WORDS.get(v, v) for v in places])
    panel.set_xlabel(f"{label}, %" if shares else label)
    panel.margins(x=0.08)
    plots.grid(panel)
