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

NUMBER = (int, float)
# The columns that say how right labels are: a name, a colour and a dash.
LABEL_F1 = {
    "f1_crops": ("pairs of crops", plots.GREEN, "solid"),
    "f1_tracklets": ("of tracklets", plots.ORANGE, "dashed"),
}
# What people read for the values of a study.
WORDS = {
    "none": "no level",
    "tracklet": "①",
    "video": "①②",
    "cross_video": "①②③",
    "truth": "true",
    "identities": "fewer people, all images of each",
    "images": "all people, fewer images of each",
}
SPACE = "http://www.w3.org/2000/svg"


def describe_studies(root: Path) -> list[dict]:
    """What the page says of each study.

    Returns:
        Each as its file has it, with `other`: it was made on other footage, or measured on another
        benchmark, than what lies in `root` now. If it was not, there are `chart` (SVG) and `words`
        too.
    """
    described = []
    for name in load_json(root / "listing/studies.json"):
        study = load_json(root / "reports/studies" / f"{name}.json")
        if _is_of_other_data(study, root):
            described.append({**study, "other": True})
        else:
            chart = draw_chart(study)
            described.append({**study, "other": False, "chart": chart, "words": WORDS})
    return described


def _is_of_other_data(study: dict, root: Path) -> bool:
    for file, digest in study["data"].items():
        path = root / file
        if not path.is_file() or work.sha256(path) != digest:
            return True
    return False


def draw_standalone(study: dict) -> str:
    """The chart as a file of its own, on white."""
    style = "color: #1b2330; background: #fff"
    start = f'<svg xmlns="{SPACE}" xmlns:xlink="http://www.w3.org/1999/xlink" style="{style}"'
    return draw_chart(study).replace("<svg", start, 1) + "\n"


def draw_chart(study: dict) -> str:
    """mAP against what is studied; beside it the F1 of the labels, where it is known.

    Each seed is a dot, their mean a line, their spread a bar.

    Args:
        study: as `studies.summary.summarise` makes it.

    Returns:
        SVG.
    """
    rows = pd.DataFrame(study["rows"])
    panels_rows = _split_into_panels(rows, study["panel"])
    label_columns = [column for column in LABEL_F1 if column in rows]
    methods = {name: {"style": style} for name, style in study["styles"].items()}
    styles = plots.choose_styles(methods)
    highest = rows.mAP.max()
    with matplotlib.rc_context(plots.SETTINGS):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        count = len(panels_rows) + bool(label_columns)
        panels = figure.subplots(1, count, squeeze=False)[0]
        for panel, (title, panel_rows) in zip(panels, panels_rows.items(), strict=False):
            _draw_scores(panel, panel_rows, study["axis"], styles)
            panel.set_title(title, fontsize=plots.TITLE_SIZE, loc="left")
            panel.set_ylim(0, 1.1 * highest)
        if label_columns:
            # They are the same for every method.
            labellings = rows.drop_duplicates([*study["columns"], "seed"])
            _draw_labels(panels[-1], labellings, study["axis"], label_columns)
        panels[0].legend(frameon=False, handlelength=3)

    spoken = []
    for mean in study["means"]:
        point = " ".join(str(mean[column]) for column in study["columns"])
        spoken.append(f"{point} {mean['method']} {mean['mAP']:.1f}")
    return plots.to_svg(figure, f"{study['title']}, mAP: {'; '.join(spoken)}")


def _split_into_panels(rows: pd.DataFrame, column: str | None) -> dict[str, pd.DataFrame]:
    """The rows of each panel by its title: one for each value of the column, if there is one."""
    if column is None:
        return {"": rows}
    panels = {}
    for value in rows[column].unique():
        title = str(WORDS.get(value, value))
        panels[title] = rows[rows[column] == value]
    return panels


def _draw_scores(
    panel: Axes,
    rows: pd.DataFrame,
    axis: tuple[str, str],
    styles: plots.Styles,
) -> None:
    """mAP of every method."""
    column, _ = axis
    for method, method_rows in rows.groupby("method", sort=False):
        _draw_line(panel, method_rows, column, "mAP", method, *styles[method])
    _label_axis(panel, rows, axis)
    panel.set_ylabel("mAP, %")


def _draw_labels(
    panel: Axes,
    rows: pd.DataFrame,
    axis: tuple[str, str],
    label_columns: list[str],
) -> None:
    """How right the identities are that methods were trained on."""
    column, _ = axis
    for label_column in label_columns:
        _draw_line(panel, rows, column, label_column, *LABEL_F1[label_column])
    panel.set_title("how right the identities are", fontsize=plots.TITLE_SIZE, loc="left")
    panel.set_ylabel("F1, %")
    panel.set_ylim(0, 105)
    panel.legend(frameon=False, handlelength=3)
    _label_axis(panel, rows, axis)


def _draw_line(
    panel: Axes,
    rows: pd.DataFrame,
    column: str,
    score: str,
    name: str,
    colour: str,
    dash: str | tuple,
) -> None:
    """One line: means over seeds with their spread, and the seeds as dots."""
    place_of = _find_places(rows, column)
    seeds = rows.groupby(column, sort=False)[score]
    mean = seeds.mean()
    spread = seeds.std(ddof=1).fillna(0)
    mean_places = [place_of[value] for value in mean.index]
    line = {"color": colour, "linestyle": dash, "linewidth": 1.7, "label": name}
    panel.errorbar(mean_places, mean, spread, capsize=3, elinewidth=1, **line)
    seed_places = [place_of[value] for value in rows[column]]
    panel.scatter(seed_places, rows[score], s=9, color=colour, alpha=0.5, linewidths=0)


def _find_places(rows: pd.DataFrame, column: str) -> dict:
    """Where each value of the axis is: a share as percent, words one after another."""
    places = {}
    for number, value in enumerate(rows[column].unique().tolist()):
        places[value] = 100 * value if isinstance(value, NUMBER) else number
    return places


def _label_axis(panel: Axes, rows: pd.DataFrame, axis: tuple[str, str]) -> None:
    column, label = axis
    place_of = _find_places(rows, column)
    if all(isinstance(value, NUMBER) for value in place_of):
        names = [f"{100 * value:g}" for value in place_of]
        label = f"{label}, %"
    else:
        names = [WORDS.get(value, value) for value in place_of]
    panel.set_xticks(list(place_of.values()), names)
    panel.set_xlabel(label)
    panel.margins(x=0.08)
    plots.add_grid(panel)
