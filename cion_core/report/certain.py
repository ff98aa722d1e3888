"""What the report shows beyond mAP and CMC: intervals, open-set search, pairs of cameras. SVG and HTML as text."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from cion_core.evaluate.openset import ALARMS
from cion_core.report.differences import interval
from cion_core.report.plots import INK, RC, Styles, svg
from cion_core.zoo.card import FROZEN

MARKERS = "osD^vPX*"  # by the order of models, so that shape tells them apart where colour does not
FEW = 10  # queries: a pair of cameras with fewer says little, and is not shaded
CAMERAS_STYLE = """
.cameras { width: auto; margin: 14px 0; }
.cameras th, .cameras td { padding: 5px 8px; text-align: right; border: 1px solid var(--paper); }
.cameras thead tr:first-child th:first-child, .cameras td:first-child { padding-left: 8px; min-width: 0; }
.cameras td { background: color-mix(in srgb, var(--accent) calc(55% * var(--share)), var(--card)); min-width: 44px;
  print-color-adjust: exact; }
.cameras td:first-child { text-align: right; }
.cameras td.none, .cameras td.few { color: var(--soft); }
.cameras td.few { font-style: italic; }
"""  # beside the page's own style; numbers stay readable on the deepest shade, light and dark


def forest(rows: list[dict], drawn: Styles) -> str:
    """mAP of every model with its 95 % interval, a block for each state, in the order given.

    rows: {method, backbone, state, title, value, low, high}, in percent; `title` stands above the block of its state;
    `low` and `high` are None where there is no interval. A disc is frozen, a hollow square anything else, and each row
    is named and numbered, so no colour has to be seen.
    """
    blocks: dict[str, list[dict]] = {}
    for row in rows:
        blocks.setdefault(row["state"], []).append(row)
    several = len({row["backbone"] for row in rows if row["backbone"] != "none"}) > 1
    heights = [len(block) + 0.6 for block in blocks.values()]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 0.3 * sum(heights) + 0.7), layout="constrained")
        panels = figure.subplots(
            len(blocks), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]  # fmt: skip
        for axes, (state, block) in zip(panels, blocks.items(), strict=True):
            for y, row in enumerate(block):
                _whisker(axes, y, row, drawn[row["method"]][0], state == FROZEN)
            axes.set_yticks(range(len(block)), [_name(row, several) for row in block])
            axes.set_ylim(len(block) - 0.4, -0.6)
            axes.set_title(block[0]["title"], fontsize=9.5, loc="left")
            axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=0)
        panels[-1].set_xlabel("mAP, %, with 95 % intervals: how far it would vary with other people as queries")
    told = "; ".join(f"{_name(row, True)} {row['state']} {_numbers(row)}" for row in rows)
    return svg(figure, f"mAP with intervals: {told}")


def open_set(models: dict[str, dict], drawn: Styles) -> str:
    """TPIR against FPIR of some models, as `openset.identification` tells them, by the name that `drawn` knows.

    Faint where fewer than ALARMS false alarms decide; a mark of the model's own shape at each FPIR that is told.
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 4), layout="constrained")
        axes = figure.subplots()
        for i, (name, told) in enumerate(models.items()):
            colour, dash = drawn[name]
            points = [(p["fpir"], p["tpir"]) for p in told["curve"] if p["fpir"] > 0]
            sure = 100 * ALARMS / told["nonmated"]
            line = {"color": colour, "linestyle": dash, "linewidth": 1.6}
            axes.plot(*zip(*points, strict=True), **line | {"alpha": 0.3})
            axes.plot([x for x, _ in points if x >= sure], [y for x, y in points if x >= sure], **line)
            marked = [at for at in told["at"] if at["tpir"] is not None]
            mark = {
                "marker": MARKERS[i % len(MARKERS)],
                "markersize": 6,
                "markeredgecolor": INK,
                "markeredgewidth": 0.6,
            }
            axes.plot(
                [at["fpir"] for at in marked], [at["tpir"] for at in marked], color=colour, linestyle="none", **mark
            )
            axes.plot([], [], label=name, **line, **mark)  # the legend's
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("FPIR, %: searches for people who are not there that answer with somebody")
        axes.set_ylabel("TPIR, %: searches that find their person")
        axes.set_ylim(0, 100)
        axes.set_xlim(right=100)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        axes.tick_params(length=3, width=0.6)
        figure.legend(loc="outside right upper", frameon=False, handlelength=4)
    return svg(figure, "TPIR against FPIR: " + "; ".join(f"{name} {_rates(told)}" for name, told in models.items()))


def cameras(pairs: list[dict], metric: str = "mAP") -> str:
    """An HTML table of `cameras.pairs`: query cameras down, gallery cameras across, the deeper the shade the higher.

    Shades go from the lowest to the highest of what is told of at least FEW queries; the others are in soft italics.

    metric: mAP or rank1. Needs CAMERAS_STYLE in the page. Point at a cell for how many queries it tells of.
    """
    by = {(pair["query"], pair["gallery"]): pair for pair in pairs}
    seen, searched = (sorted({pair[of] for pair in pairs}) for of in ("query", "gallery"))
    known = [pair[metric] for pair in pairs if pair["queries"] >= FEW]
    lowest, highest = min(known, default=0.0), max(known, default=0.0)
    head = "".join(f'<th scope="col">{camera}</th>' for camera in searched)
    body = []
    for query in seen:
        cells = "".join(_cell(by.get((query, gallery)), metric, lowest, highest) for gallery in searched)
        body.append(f'<tr><th scope="row">{query}</th>{cells}</tr>')
    return (
        '<div class="scroll"><table class="cameras"><thead><tr>'
        f'<th scope="col">query ↓ gallery →</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cell(pair: dict | None, metric: str, lowest: float, highest: float) -> str:
    if pair is None or pair[metric] is None:
        why = "a camera and itself" if pair is None else "nobody of the one is under the other"
        return f'<td class="none" style="--share: 0" title="{why}">{"" if pair is None else "·"}</td>'
    few = pair["queries"] < FEW
    mark = ' class="few"' if few else ""
    share = 0.0 if few or highest == lowest else (pair[metric] - lowest) / (highest - lowest)
    title = (
        f"camera {pair['query']} searched in camera {pair['gallery']}: {pair['queries']} queries, "
        f"mAP {pair['mAP']:.1f} %, rank-1 {pair['rank1']:.1f} %"
    )
    return f'<td{mark} style="--share: {share:.2f}" title="{title}">{pair[metric]:.0f}</td>'


def _whisker(axes: Axes, y: int, row: dict, colour: str, frozen: bool) -> None:
    """One row of a forest plot: the value, its interval, and both as numbers at the right edge."""
    if row["low"] is not None:
        axes.plot((row["low"], row["high"]), (y, y), color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot((row["low"], row["high"]), (y, y), color=colour, marker="|", markersize=8, linestyle="none")
    face = colour if frozen else "none"
    axes.plot(row["value"], y, marker="o" if frozen else "s", markersize=7, markeredgecolor=colour, color=face)
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(_numbers(row), (1, y), (6, 0), annotation_clip=False, **place)


def _rates(told: dict) -> str:
    """`70.4 at 1 %, 88.7 at 10 %`."""
    known = [f"{at['tpir']:.1f} at {at['fpir']:g} %" for at in told["at"] if at["tpir"] is not None]
    return ", ".join(known) or "at no rate"


def _numbers(row: dict) -> str:
    """`71.2 (69.8 to 72.6)`."""
    return f"{row['value']:.1f}{interval(row['low'], row['high'])}"


def _name(row: dict, several: bool) -> str:
    return f"{row['method']} {row['backbone']}" if several and row["backbone"] != "none" else row["method"]
