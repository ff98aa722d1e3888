"""What the report shows beyond mAP and CMC, as SVG and HTML.

These are intervals, open-set search, and how hard cameras are to search from one another.
"""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from cion_core.evaluate.openset import ALARMS
from cion_core.report.comparison import NO_BACKBONE
from cion_core.report.differences import format_interval
from cion_core.report.plots import INK, SETTINGS, TITLE_SIZE, Styles, to_svg
from cion_core.zoo.card import FROZEN

# By the order of models, so that shape tells them apart where colour does not.
MARKERS = "osD^vPX*"
# Queries: a pair of cameras with fewer says little, and is not shaded.
FEW = 10
FOREST_AXIS = "mAP, %, with 95 % intervals: how far it would vary with other people as queries"
# Beside the page's own style; numbers stay readable on the deepest shade, light and dark.
CAMERAS_STYLE = """
.cameras { width: auto; margin: 14px 0; }
.cameras th, .cameras td { padding: 5px 8px; text-align: right; border: 1px solid var(--paper); }
.cameras thead tr:first-child th:first-child, .cameras td:first-child {
  padding-left: 8px; min-width: 0; }
.cameras td { background: color-mix(in srgb, var(--accent) calc(55% * var(--share)), var(--card));
  min-width: 44px; print-color-adjust: exact; }
.cameras td:first-child { text-align: right; }
.cameras td.none, .cameras td.few { color: var(--soft); }
.cameras td.few { font-style: italic; }
"""


def draw_forest(rows: list[dict], styles: Styles) -> str:
    """mAP of every model with its 95 % interval, a block for each state, in the order given.

    A disc is a frozen model, a hollow square any other, and each row is named and numbered, so no
    colour has to be seen.

    Args:
        rows: {method, backbone, state, title, value, low, high}, in percent. `title` stands above
            the block of its state; `low` and `high` are None where there is no interval.
        styles: of the methods.
    """
    blocks: dict[str, list[dict]] = {}
    for row in rows:
        blocks.setdefault(row["state"], []).append(row)
    backbones = {row["backbone"] for row in rows if row["backbone"] != NO_BACKBONE}
    name_backbones = len(backbones) > 1

    heights = [len(block) + 0.6 for block in blocks.values()]
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 0.3 * sum(heights) + 0.7), layout="constrained")
        grid = figure.subplots(
            len(blocks),
            1,
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
        )
        panels = grid[:, 0]
        for panel, (state, block) in zip(panels, blocks.items(), strict=True):
            for place, row in enumerate(block):
                colour, _ = styles[row["method"]]
                _draw_interval(panel, place, row, colour, frozen=state == FROZEN)
            names = [_name_model(row, name_backbones) for row in block]
            panel.set_yticks(range(len(block)), names)
            panel.set_ylim(len(block) - 0.4, -0.6)
            panel.set_title(block[0]["title"], fontsize=TITLE_SIZE, loc="left")
            panel.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
            panel.set_axisbelow(True)
            panel.spines["left"].set_visible(False)
            panel.tick_params(length=0)
        panels[-1].set_xlabel(FOREST_AXIS)
    spoken = [f"{_name_model(row, True)} {row['state']} {_format_value(row)}" for row in rows]
    return to_svg(figure, f"mAP with intervals: {'; '.join(spoken)}")


def _draw_interval(panel: Axes, place: int, row: dict, colour: str, frozen: bool) -> None:
    """One row of a forest plot: the value, its interval, and both as numbers at the right edge."""
    if row["low"] is not None:
        ends, places = (row["low"], row["high"]), (place, place)
        panel.plot(ends, places, color=colour, linewidth=1.6, solid_capstyle="butt")
        panel.plot(ends, places, color=colour, marker="|", markersize=8, linestyle="none")
    panel.plot(
        row["value"],
        place,
        marker="o" if frozen else "s",
        markersize=7,
        markeredgecolor=colour,
        color=colour if frozen else "none",
    )
    panel.annotate(
        _format_value(row),
        (1, place),
        (6, 0),
        annotation_clip=False,
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
    )


def _name_model(row: dict, name_backbone: bool) -> str:
    if name_backbone and row["backbone"] != NO_BACKBONE:
        return f"{row['method']} {row['backbone']}"
    return row["method"]


def _format_value(row: dict) -> str:
    """`71.2 (69.8 to 72.6)`."""
    return f"{row['value']:.1f}{format_interval(row['low'], row['high'])}"


def draw_open_set(searches: dict[str, dict], styles: Styles) -> str:
    """TPIR against FPIR of some models.

    A line is faint where fewer than ALARMS false alarms decide. At each FPIR that is told there is
    a mark, in the model's own shape.

    Args:
        searches: by method, as `openset.identification` gives them.
        styles: of the methods.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, 4), layout="constrained")
        panel = figure.subplots()
        for number, (name, search) in enumerate(searches.items()):
            _draw_search(panel, search, name, number, styles)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(10))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_xlabel("FPIR, %: searches for people who are not there that answer with somebody")
        panel.set_ylabel("TPIR, %: searches that find their person")
        panel.set_ylim(0, 100)
        panel.set_xlim(right=100)
        panel.grid(color=INK, alpha=0.15, linewidth=0.6)
        panel.tick_params(length=3, width=0.6)
        figure.legend(loc="outside right upper", frameon=False, handlelength=4)
    spoken = [f"{name} {_format_rates(search)}" for name, search in searches.items()]
    return to_svg(figure, f"TPIR against FPIR: {'; '.join(spoken)}")


def _draw_search(panel: Axes, search: dict, name: str, number: int, styles: Styles) -> None:
    """The curve of one model, and its marks."""
    colour, dash = styles[name]
    line = {"color": colour, "linestyle": dash, "linewidth": 1.6}
    mark = {
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 6,
        "markeredgecolor": INK,
        "markeredgewidth": 0.6,
    }
    # 1. All of the curve that a logarithmic scale can show, faint.
    curve = [point for point in search["curve"] if point["fpir"] > 0]
    panel.plot(*_coordinates(curve), **line, alpha=0.3)

    # 2. The part that enough false alarms decide.
    lowest = 100 * ALARMS / search["nonmated"]
    decided = [point for point in curve if point["fpir"] >= lowest]
    panel.plot(*_coordinates(decided), **line)

    # 3. A mark at each rate that is told.
    told = [point for point in search["at"] if point["tpir"] is not None]
    panel.plot(*_coordinates(told), color=colour, linestyle="none", **mark)

    # 4. Line and mark together, for the legend.
    panel.plot([], [], label=name, **line, **mark)


def _coordinates(points: list[dict]) -> tuple[list[float], list[float]]:
    return [point["fpir"] for point in points], [point["tpir"] for point in points]


def _format_rates(search: dict) -> str:
    """`70.4 at 1 %, 88.7 at 10 %`."""
    rates = []
    for point in search["at"]:
        if point["tpir"] is not None:
            rates.append(f"{point['tpir']:.1f} at {point['fpir']:g} %")
    return ", ".join(rates) or "at no rate"


def tabulate_cameras(pairs: list[dict], metric: str = "mAP") -> str:
    """An HTML table of `cameras.pairs`: query cameras down, gallery cameras across.

    The higher the score, the deeper the shade. Shades go from the lowest to the highest of what is
    told of at least FEW queries; the others are in soft italics. Point at a cell for how many
    queries it is about. The page needs CAMERAS_STYLE.

    Args:
        pairs: {query, gallery, queries, mAP, rank1}.
        metric: mAP or rank1.
    """
    pair_of = {(pair["query"], pair["gallery"]): pair for pair in pairs}
    query_cameras = sorted({pair["query"] for pair in pairs})
    gallery_cameras = sorted({pair["gallery"] for pair in pairs})
    scale = [pair[metric] for pair in pairs if pair["queries"] >= FEW]
    lowest, highest = min(scale, default=0.0), max(scale, default=0.0)

    head = "".join(f'<th scope="col">{camera}</th>' for camera in gallery_cameras)
    lines = []
    for query in query_cameras:
        cells = []
        for gallery in gallery_cameras:
            pair = pair_of.get((query, gallery))
            cells.append(_camera_cell(pair, metric, lowest, highest))
        lines.append(f'<tr><th scope="row">{query}</th>{"".join(cells)}</tr>')
    return (
        '<div class="scroll"><table class="cameras"><thead><tr>'
        f'<th scope="col">query ↓ gallery →</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _camera_cell(pair: dict | None, metric: str, lowest: float, highest: float) -> str:
    if pair is None:
        return '<td class="none" style="--share: 0" title="a camera and itself"></td>'
    if pair[metric] is None:
        why = "nobody of the one is under the other"
        return f'<td class="none" style="--share: 0" title="{why}">·</td>'

    few = pair["queries"] < FEW
    share = 0.0
    if not few and highest != lowest:
        share = (pair[metric] - lowest) / (highest - lowest)
    title = (
        f"camera {pair['query']} searched in camera {pair['gallery']}: {pair['queries']} queries, "
        f"mAP {pair['mAP']:.1f} %, rank-1 {pair['rank1']:.1f} %"
    )
    mark = ' class="few"' if few else ""
    return f'<td{mark} style="--share: {share:.2f}" title="{title}">{pair[metric]:.0f}</td>'
