"""Charts as inline SVG: text stays text, lines take the page's ink.

The same numbers give the same bytes, so that DVC sees no change where there is none.
"""

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

# A stand-in: every use becomes the page's own text colour, light or dark.
INK = "#123456"
BLUE, ORANGE, GREEN, GREY = "#2f7fe0", "#d9772b", "#23a08c", "#6b7280"
PALETTE = ("#8a8f98", "#a07a4f", ORANGE, "#c2455e", "#9b62d4", GREEN, BLUE)
DASHES = ("solid", (0, (1, 1.5)), (0, (4, 1.5)), (0, (8, 1.5)), (0, (5, 1, 1, 1)))
# The colour and the dash of each method, so that it is known in black and white too.
Styles = dict[str, tuple[str, str | tuple]]
TITLE_SIZE = 9.5
# What matplotlib is set to while a figure is drawn and written.
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cion",
    "font.family": "sans-serif",
    "font.size": TITLE_SIZE,
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
# How pairs are drawn from which a threshold was found: column, name, colour and dash.
PAIR_KINDS = (
    ("positives", "one person", GREEN, "solid"),
    ("negatives", "two people", ORANGE, "dashed"),
    ("pairs", "one or two", GREY, "dashdot"),
)


def choose_styles(methods: dict[str, dict]) -> Styles:
    """How each method is drawn: as it says itself, else in a colour and a dash that its name picks.

    Args:
        methods: by name, with `style` of {"colour", "dash"} or None.
    """
    styles = {}
    for name, method in methods.items():
        number = zlib.crc32(name.encode())
        picked = {
            "colour": PALETTE[number % len(PALETTE)],
            "dash": DASHES[number % len(DASHES)],
        }
        style = method["style"] or picked
        dash = style["dash"]
        if not isinstance(dash, str):
            # JSON has lists where matplotlib wants tuples.
            offset, lengths = dash
            dash = (offset, tuple(lengths))
        styles[name] = (style["colour"], dash)
    return styles


def draw_losses(losses: pd.DataFrame, training: str, styles: Styles) -> str:
    """Losses over steps, a panel per backbone: raw ones faint, a running mean on top.

    Args:
        losses: as `trainings.read_losses` gives them.
        training: pretrain, or a run of `finetune.runs`.
        styles: of the methods.
    """
    of_training = losses[losses.training == training]
    backbones = list(dict.fromkeys(of_training.backbone))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(5.4 * len(backbones), 3.4), layout="constrained")
        panels = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
        for panel, backbone in zip(panels, backbones, strict=True):
            of_backbone = of_training[of_training.backbone == backbone]
            for method, curve in of_backbone.groupby("method", sort=False):
                colour, dash = styles[method]
                panel.plot(curve.step, curve.loss, color=colour, alpha=0.22, linewidth=0.8)
                span = max(2, len(curve) // 15)
                smooth = curve.loss.ewm(span=span).mean()
                line = {"color": colour, "linestyle": dash, "linewidth": 1.7, "label": method}
                panel.plot(curve.step, smooth, **line)
            panel.set_title(backbone if len(backbones) > 1 else "", fontsize=TITLE_SIZE)
            panel.set_xlabel("step")
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            add_grid(panel)
        panels[0].set_ylabel("loss")
        handles, labels = panels[0].get_legend_handles_labels()
        place = "outside right upper"
        figure.legend(handles, labels, loc=place, frameon=False, handlelength=3.4)

    ends = of_training.groupby("model", sort=False).loss.agg(["first", "last"])
    spoken = [f"{model} {end['first']:.2f} to {end['last']:.2f}" for model, end in ends.iterrows()]
    return to_svg(figure, f"{training} loss: {'; '.join(spoken)}")


def draw_schedules(
    schedules: dict[str, pd.DataFrame],
    titles: dict[str, str],
    styles: Styles,
) -> str:
    """What changes over a run of each method, as lines over steps.

    Args:
        schedules: as `trainings.read_schedules` gives them.
        titles: of the columns; each that any method has gets a panel.
        styles: of the methods.
    """
    columns = []
    for column in titles:
        if any(column in schedule for schedule in schedules.values()):
            columns.append(column)

    spoken = []
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 2.3), layout="constrained")
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for panel, column in zip(panels, columns, strict=True):
            for method, schedule in schedules.items():
                if column not in schedule:
                    continue
                values = schedule[column]
                colour, dash = styles[method]
                line = {"color": colour, "linestyle": dash, "linewidth": 1.5, "label": method}
                panel.plot(schedule.step, values, **line)
                spoken.append(f"{method} {values.iloc[0]:.3g} to {values.iloc[-1]:.3g}")
            panel.set_title(titles[column], fontsize=TITLE_SIZE, loc="left")
            panel.set_xlabel("step")
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=column == "K"))
            add_grid(panel)
        handles, labels = panels[0].get_legend_handles_labels()
        place = "outside right upper"
        figure.legend(handles, labels, loc=place, frameon=False, handlelength=3.4)
    return to_svg(figure, f"schedules: {'; '.join(spoken)}")


def draw_calibration(curves: dict[str, dict]) -> str:
    """Where each threshold lies between pairs of one person and pairs of two.

    Args:
        curves: by a panel's title. Each has `threshold`, and `points` of {threshold, positives,
            negatives} (shares of the pairs that are nearer), or of {threshold, pairs} where nobody
            knows which are which.
    """
    legend = {}
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 2.6), layout="constrained")
        panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for panel, (title, curve) in zip(panels, curves.items(), strict=True):
            threshold = curve["threshold"]
            points = pd.DataFrame(curve["points"])
            for kind, name, colour, dash in PAIR_KINDS:
                if kind in points:
                    line = {"color": colour, "linewidth": 1.7, "linestyle": dash, "label": name}
                    panel.plot(points.threshold, 100 * points[kind], **line)
            panel.axvline(threshold, color=INK, linewidth=1, linestyle="dotted")
            above = {"xytext": (3, 0), "textcoords": "offset points"}
            panel.annotate(f"{threshold:.3f}", (threshold, 103), **above)
            panel.set_title(title, fontsize=TITLE_SIZE, loc="left")
            panel.set_xlabel("distance")
            panel.set_ylim(0, 112)
            panel.set_yticks([0, 50, 100])
            panel.xaxis.set_major_locator(MaxNLocator(4))
            add_grid(panel)
            handles, labels = panel.get_legend_handles_labels()
            legend |= dict(zip(labels, handles, strict=True))
        panels[0].set_ylabel("pairs nearer, %")
        figure.legend(legend.values(), legend.keys(), loc="outside right upper", frameon=False)

    spoken = [f"{title} {curve['threshold']:.3f}" for title, curve in curves.items()]
    return to_svg(figure, f"calibration: {'; '.join(spoken)}")


def draw_histograms(histograms: dict[str, pd.DataFrame]) -> str:
    """How many identities have how many videos, tracklets, crops, a panel each.

    Hatched are the identities that are seen in one video alone.

    Args:
        histograms: by what is counted, as `sightings.histogram` gives them; not empty.
    """
    hatched = {"facecolor": "none", "edgecolor": ORANGE, "hatch": "////", "linewidth": 0.8}
    most_bins = max(len(histogram) for histogram in histograms.values())
    spoken = []
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 0.22 * most_bins + 0.9), layout="constrained")
        panels = figure.subplots(1, len(histograms), squeeze=False)[0]
        for panel, (counted, bins) in zip(panels, histograms.items(), strict=True):
            several = bins.identities - bins.once
            panel.barh(bins.index, bins.once, **hatched, label="in one video only")
            beyond = {"left": bins.once, "color": BLUE, "label": "in two and more"}
            panel.barh(bins.index, several, **beyond)
            panel.set_title(f"{counted} of an identity", fontsize=TITLE_SIZE, loc="left")
            panel.set_xlabel("identities")
            panel.set_xlim(0, 1.05 * bins.identities.max())
            panel.set_ylim(most_bins - 0.4, -0.6)
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.tick_params(axis="y", length=0)
            numbers = [f"{bin_name}: {number}" for bin_name, number in bins.identities.items()]
            spoken.append(f"{counted} {', '.join(numbers)}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
    return to_svg(figure, f"identities by number: {'; '.join(spoken)}")


def add_grid(panel: Axes) -> None:
    """Faint lines to read heights by."""
    panel.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
    panel.tick_params(length=3, width=0.6)


def to_svg(figure: Figure, description: str) -> str:
    """The figure as an SVG element to put into HTML.

    Args:
        figure: as drawn.
        description: what it shows, for those who do not see it.
    """
    file = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()

    # 1. The element alone, without metadata.
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    # 2. Without ids, which repeat from figure to figure.
    element = re.sub(r'<g id="[^"]*">', "<g>", element)
    # 3. Without what the page decides: namespaces, size, and the family of fonts.
    element = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", element)
    element = re.sub(r'<svg width="[^"]*" height="[^"]*"|<svg height="[^"]*"', "<svg", element)
    element = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", element)
    # 4. The page's own ink, and the description.
    element = element.replace(INK, "currentColor")
    label = escape(description, quote=True)
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
