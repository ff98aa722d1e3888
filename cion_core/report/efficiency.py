"""What a better score costs, over backbones: mAP against parameters, FLOPs and latency."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cion_core.report.certain import MARKERS
from cion_core.report.comparison import TRANSFERRED, Evaluation
from cion_core.report.costs import Cost, short
from cion_core.report.plots import INK, RC, Styles, svg

AXES = {  # a panel each
    "parameters": "parameters",
    "flops": "FLOPs of an image (multiply-adds)",
    "latency": "ms for an image, one at a time",
}


def picture(rows: list[dict], found: dict[Evaluation, Cost], drawn: Styles) -> str:
    """A row of panels for each state that was meant for the benchmark; empty where there are not two backbones.

    A mark's shape is the backbone, its colour and line the method, whose models are joined by what they cost.
    rows: of one benchmark, as `comparison.shown`.
    """
    rows = [row for row in rows if row["backbone"] != "none" and row["setting"] != TRANSFERRED]
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    if len(backbones) < 2:
        return ""
    states = list(dict.fromkeys(row["run"] for row in rows))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 2.6 * len(states) + 0.4), layout="constrained")
        panels = figure.subplots(len(states), len(AXES), sharex="col", sharey="row", squeeze=False)
        for line, state in zip(panels, states, strict=True):
            of = [(row, found[Evaluation.of(row)]) for row in rows if row["run"] == state]
            for axes, (name, title) in zip(line, AXES.items(), strict=True):
                _panel(axes, of, name, backbones, drawn)
                if state == states[-1]:
                    axes.set_xlabel(title)
            line[0].set_ylabel("mAP, %")
            line[0].set_title(state, fontsize=9.5, loc="left")
        _legend(figure, rows, backbones, drawn)
    told = (
        f"{row['method']} {row['backbone']} {row['run']} {row['mAP']:.1f} at {short(found[Evaluation.of(row)].flops)}"
        for row in rows
    )
    return svg(figure, "mAP against parameters, FLOPs and latency: " + "; ".join(told))


def _panel(
    axes: matplotlib.axes.Axes, of: list[tuple[dict, Cost]], name: str, backbones: list[str], drawn: Styles
) -> None:
    for method in dict.fromkeys(row["method"] for row, _ in of):
        points = sorted((getattr(cost, name), row["mAP"], row["backbone"]) for row, cost in of
                        if row["method"] == method)  # fmt: skip
        colour, dash = drawn[method]
        axes.plot([x for x, *_ in points], [y for _, y, _ in points], color=colour, linestyle=dash, linewidth=1.2)
        for x, y, backbone in points:
            axes.plot(x, y, **_mark(backbones.index(backbone)), color=colour)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high < 30 * low else (1,)))  # else labels would touch
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, name)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    axes.tick_params(length=3, width=0.6)


def _tick(x: float, name: str) -> str:
    return f"{x:g}" if name == "latency" else short(round(x)).replace(".0", "")


def _legend(figure: Figure, rows: list[dict], backbones: list[str], drawn: Styles) -> None:
    axes = figure.axes[0]
    for i, backbone in enumerate(backbones):
        axes.plot([], [], linestyle="none", color=INK, label=backbone, **_mark(i))
    for method in dict.fromkeys(row["method"] for row in rows):
        axes.plot([], [], color=drawn[method][0], linestyle=drawn[method][1], label=method)
    figure.legend(loc="outside right upper", frameon=False, handlelength=3.4)


def _mark(i: int) -> dict:
    return {"marker": MARKERS[i % len(MARKERS)], "markersize": 6.5, "markeredgecolor": INK, "markeredgewidth": 0.6}
