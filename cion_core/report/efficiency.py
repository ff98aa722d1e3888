"""What a better score costs, over backbones: mAP against parameters, FLOPs and latency."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cion_core.report.comparison import NO_BACKBONE, TRANSFERRED, Evaluation, list_distinct
from cion_core.report.costs import Cost, format_count
from cion_core.report.evaluation_charts import MARKERS
from cion_core.report.plots import INK, SETTINGS, TITLE_SIZE, Styles, to_svg

# A panel for each of these columns of a cost, and its title.
AXES = {
    "parameters": "parameters",
    "flops": "FLOPs of an image (multiply-adds)",
    "latency": "ms for an image, one at a time",
}
# An axis that spans less than this factor has room for ticks at 2 and 5.
NARROW = 30


def draw_efficiency(rows: list[dict], costs: dict[Evaluation, Cost], styles: Styles) -> str:
    """A row of panels for each state that was meant for the benchmark.

    A mark's shape is the backbone, its colour and line the method. A line joins the models of a
    method, from the cheapest to the dearest.

    Args:
        rows: of one benchmark, as `comparison.select_shown` gives them.
        costs: as `costs.read_costs` gives them.
        styles: of the methods.

    Returns:
        SVG; empty where there are not two backbones.
    """
    trained = []
    for row in rows:
        if row["backbone"] != NO_BACKBONE and row["setting"] != TRANSFERRED:
            trained.append(row)
    backbones = list_distinct(trained, "backbone")
    if len(backbones) < 2:
        return ""

    states = list_distinct(trained, "run")
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 2.6 * len(states) + 0.4), layout="constrained")
        grid = figure.subplots(len(states), len(AXES), sharex="col", sharey="row", squeeze=False)
        for panels, state in zip(grid, states, strict=True):
            models = []
            for row in trained:
                if row["run"] == state:
                    models.append((row, costs[Evaluation.from_row(row)]))
            for panel, (column, title) in zip(panels, AXES.items(), strict=True):
                _draw_panel(panel, models, column, backbones, styles)
                if state == states[-1]:
                    panel.set_xlabel(title)
            panels[0].set_ylabel("mAP, %")
            panels[0].set_title(state, fontsize=TITLE_SIZE, loc="left")
        _add_legend(figure, list_distinct(trained, "method"), backbones, styles)

    spoken = []
    for row in trained:
        flops = format_count(costs[Evaluation.from_row(row)].flops)
        model = f"{row['method']} {row['backbone']} {row['run']}"
        spoken.append(f"{model} {row['mAP']:.1f} at {flops}")
    return to_svg(figure, f"mAP against parameters, FLOPs and latency: {'; '.join(spoken)}")


def _draw_panel(
    panel: Axes,
    models: list[tuple[dict, Cost]],
    column: str,
    backbones: list[str],
    styles: Styles,
) -> None:
    """mAP against one column of the cost, of the models of one state."""
    points_of: dict[str, list[tuple[float, float, str]]] = {}
    for row, cost in models:
        point = (getattr(cost, column), row["mAP"], row["backbone"])
        points_of.setdefault(row["method"], []).append(point)

    for method, points in points_of.items():
        points.sort()
        colour, dash = styles[method]
        prices = [price for price, _, _ in points]
        scores = [score for _, score, _ in points]
        panel.plot(prices, scores, color=colour, linestyle=dash, linewidth=1.2)
        for price, score, backbone in points:
            panel.plot(price, score, **_mark(backbones.index(backbone)), color=colour)

    panel.set_xscale("log")
    low, high = panel.get_xlim()
    ticks = (1, 2, 5) if high < NARROW * low else (1,)
    panel.xaxis.set_major_locator(LogLocator(10, subs=ticks))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_tick(value, column)))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(color=INK, alpha=0.15, linewidth=0.6)
    panel.tick_params(length=3, width=0.6)


def _format_tick(value: float, column: str) -> str:
    if column == "latency":
        return f"{value:g}"
    return format_count(round(value)).replace(".0", "")


def _add_legend(
    figure: Figure,
    methods: list[str],
    backbones: list[str],
    styles: Styles,
) -> None:
    panel = figure.axes[0]
    for number, backbone in enumerate(backbones):
        panel.plot([], [], linestyle="none", color=INK, label=backbone, **_mark(number))
    for method in methods:
        colour, dash = styles[method]
        panel.plot([], [], color=colour, linestyle=dash, label=method)
    figure.legend(loc="outside right upper", frameon=False, handlelength=3.4)


def _mark(number: int) -> dict:
    return {
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 6.5,
        "markeredgecolor": INK,
        "markeredgewidth": 0.6,
    }
