"""Charts as inline SVG: text stays text, lines take the page's ink, the same numbers give the same bytes."""

from __future__ import annotations

import io
import re
import zlib
from html import escape

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#123456"  # a stand-in: every use becomes the page's own text colour, light or dark
PALETTE = ("#8a8f98", "#a07a4f", "#d9772b", "#c2455e", "#9b62d4", "#23a08c", "#2f7fe0")
DASHES = ("solid", (0, (1, 1.5)), (0, (4, 1.5)), (0, (8, 1.5)), (0, (5, 1, 1, 1)))
Styles = dict[str, tuple[str, str | tuple]]  # a method's colour and dash, so that neither print nor vision decides
RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cion",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.8,
}


def styles(methods: dict[str, dict]) -> Styles:
    """How each method is drawn: as it says itself, else in a colour and a dash that its name picks.

    methods: by name, with `style` of {"colour", "dash"} or None.
    """
    found = {}
    for name, method in methods.items():
        number = zlib.crc32(name.encode())
        style = method["style"] or {"colour": PALETTE[number % len(PALETTE)], "dash": DASHES[number % len(DASHES)]}
        dash = style["dash"]
        found[name] = (style["colour"], dash if isinstance(dash, str) else (dash[0], tuple(dash[1])))
    return found


def curves(training: pd.DataFrame, stage: str, drawn: Styles) -> str:
    """Losses of all runs of one stage over steps, one panel per backbone: raw faint, a running mean on top."""
    chosen = training[training.stage == stage]
    backbones = list(dict.fromkeys(chosen.backbone))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.4 * len(backbones), 3.4), layout="constrained")
        panels = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
        for axes, backbone in zip(panels, backbones, strict=True):
            for method, run in chosen[chosen.backbone == backbone].groupby("method", sort=False):
                colour, dash = drawn[method]
                axes.plot(run.step, run.loss, color=colour, alpha=0.22, linewidth=0.8)
                smooth = run.loss.ewm(span=max(2, len(run) // 15)).mean()
                axes.plot(run.step, smooth, color=colour, linestyle=dash, linewidth=1.7, label=method)
            axes.set_title(backbone if len(backbones) > 1 else "", fontsize=9.5)
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            grid(axes)
        panels[0].set_ylabel("loss")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.4)
    last = chosen.groupby("run", sort=False).loss.agg(["first", "last"])
    return svg(
        figure,
        f"{stage} loss: " + "; ".join(f"{r} {v['first']:.2f} to {v['last']:.2f}" for r, v in last.iterrows()),
    )


def schedules(runs: dict[str, pd.DataFrame], names: dict[str, str], drawn: Styles) -> str:
    """What changes over a run of each method, one panel per column of `names` that any has: lines over steps."""
    columns = [column for column in names if any(column in run for run in runs.values())]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 2.3), layout="constrained")
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            for method, run in runs.items():
                if column in run:
                    colour, dash = drawn[method]
                    axes.plot(run.step, run[column], color=colour, linestyle=dash, linewidth=1.5, label=method)
            axes.set_title(names[column], fontsize=9.5, loc="left")
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=column == "K"))
            grid(axes)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.4)
    told = (
        f"{m} {run[c].iloc[0]:.3g} to {run[c].iloc[-1]:.3g}" for c in columns for m, run in runs.items() if c in run
    )
    return svg(figure, "schedules: " + "; ".join(told))


def calibration(curves: dict[str, dict]) -> str:
    """Where each threshold lies between pairs of one person and pairs of two; `curves` by a panel's title.

    A curve: threshold, points of {threshold, positives, negatives} (shares of the pairs that are nearer), or of
    {threshold, pairs} where nobody knows which are which.
    """
    kinds = (("positives", "one person", "#23a08c", "solid"), ("negatives", "two people", "#d9772b", "dashed"),
             ("pairs", "one or two", "#6b7280", "dashdot"))  # fmt: skip
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 2.6), layout="constrained")
        panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for axes, (title, curve) in zip(panels, curves.items(), strict=True):
            points = pd.DataFrame(curve["points"])
            for kind, told, color, style in kinds:
                if kind in points:
                    shares = 100 * points[kind]
                    axes.plot(points.threshold, shares, color=color, linewidth=1.7, linestyle=style, label=told)
            axes.axvline(curve["threshold"], color=INK, linewidth=1, linestyle="dotted")
            axes.annotate(f"{curve['threshold']:.3f}", (curve["threshold"], 103), (3, 0), textcoords="offset points")
            axes.set_title(title, fontsize=9.5, loc="left")
            axes.set_xlabel("distance")
            axes.set_ylim(0, 112)
            axes.set_yticks([0, 50, 100])
            axes.xaxis.set_major_locator(MaxNLocator(4))
            grid(axes)
        panels[0].set_ylabel("pairs nearer, %")
        drawn = {told: line for axes in panels for line, told in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(drawn.values(), drawn.keys(), loc="outside right upper", frameon=False)
    return svg(figure, "calibration: " + "; ".join(f"{t} {c['threshold']:.3f}" for t, c in curves.items()))


def histograms(tables: dict[str, pd.DataFrame]) -> str:
    """How many identities have how many videos, tracklets, crops, a panel each; hatched: those of one video alone.

    tables: by what is counted, as `sightings.histogram` gives them; not empty.
    """
    hatched = {"facecolor": "none", "edgecolor": "#d9772b", "hatch": "////", "linewidth": 0.8}
    longest = max(len(table) for table in tables.values())
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 0.22 * longest + 0.9), layout="constrained")
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (name, table) in zip(panels, tables.items(), strict=True):
            several = table.identities - table.once
            axes.barh(table.index, table.once, **hatched, label="in one video only")
            axes.barh(table.index, several, left=table.once, color="#2f7fe0", label="in two and more")
            axes.set_title(f"{name} of an identity", fontsize=9.5, loc="left")
            axes.set_xlabel("identities")
            axes.set_xlim(0, 1.05 * table.identities.max())
            axes.set_ylim(longest - 0.4, -0.6)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.tick_params(axis="y", length=0)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
    told = (f"{name} {', '.join(f'{of}: {n}' for of, n in t.identities.items())}" for name, t in tables.items())
    return svg(figure, "identities by number: " + "; ".join(told))


def grid(axes: Axes) -> None:
    """Faint lines to read heights by."""
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
    axes.tick_params(length=3, width=0.6)


def svg(figure: Figure, description: str) -> str:
    """The figure as an SVG element to put into HTML, described for those who do not see it."""
    text = io.StringIO()
    with matplotlib.rc_context(RC):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)  # ids that repeat from figure to figure
    body = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", body)
    body = re.sub(r'<svg width="[^"]*" height="[^"]*"|<svg height="[^"]*"', "<svg", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    label = escape(description, quote=True)
    return body.replace(INK, "currentColor").replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
