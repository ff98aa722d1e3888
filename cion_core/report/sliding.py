"""The Sliding Range over this footage's own sequence: its positions, the Linking Relations in them, what overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cion_core import tables
from cion_core.denoise import state
from cion_core.denoise.linking.nodes import Links
from cion_core.report.plots import INK, RC, svg

POSITIONS = 24  # that are drawn at most, the first ones
IDENTITIES = 14
BANDS = 400  # videos; more would be a haze
COLOURS = ("#2f7fe0", "#d9772b", "#23a08c", "#9b62d4", "#c2455e", "#a07a4f")  # of positions, by turns


@dataclass(frozen=True)
class Relations:
    """Neighbours in the sequence that are one identity, though level 2 did not have them as one.

    pairs int [M, 2]: nodes, the lower first; beyond bool [M]: of an identity that no position holds whole.
    """

    pairs: np.ndarray
    beyond: np.ndarray


@dataclass(frozen=True)
class Told:
    """What the page says of the Sliding Range; counts of `tracklets`, as level 3 compares them.

    later: tracklets of videos that came later, in no position. size, overlap: of a position, and of two in a row.
    beyond: identities that no position holds whole; relations: how many, and across: how many lead to another video.
    """

    tracklets: int
    later: int
    positions: int
    size: int
    overlap: int
    relations: int
    across: int
    beyond: int
    picture: str


def told(root: Path) -> Told:
    """By what level 3 has left; CionError where it has not run."""
    links = state.read_links(root / "denoise/cross_video/links.npz")
    videos = videos_of(root, links.names)
    found, positions = relations(links), links.positions
    codes = pd.factorize(videos)[0]
    reaching = links.identity[np.unique(found.pairs[found.beyond])]
    return Told(
        tracklets=len(links.names),
        later=len(links.names) - int(positions[:, 1].max(initial=0)),
        positions=len(positions),
        size=int(np.diff(positions).max(initial=0)),
        overlap=int((positions[:-1, 1] - positions[1:, 0]).max(initial=0)),
        relations=len(found.pairs),
        across=int((codes[found.pairs[:, 0]] != codes[found.pairs[:, 1]]).sum()),
        beyond=len(np.unique(reaching)),
        picture=picture(links, found, videos) if len(positions) else "",
    )


def videos_of(root: Path, names: np.ndarray) -> np.ndarray:
    """The video of each identity of level 2, str [n]: all its crops are of one."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    before = tables.read(tables.Identities, root / "denoise/video/identities.parquet")
    first = before.drop_duplicates("identity").set_index("identity").crop
    return crops.video.loc[first.loc[names]].to_numpy(str)


def relations(links: Links) -> Relations:
    """The Linking Relations along the sequence. Neighbours of an identity share a position, for that which joined
    nodes to their left and right holds them too; but not where level 2 made one of tracklets farther apart than that.
    """
    order = np.lexsort((np.arange(len(links.identity)), links.identity))
    low, high = order[:-1], order[1:]
    same = (links.identity[low] == links.identity[high]) & (links.names[low] != links.names[high])
    pairs = np.stack([low[same], high[same]], 1)
    _, group = np.unique(links.identity, return_inverse=True)
    first, last = np.full(len(group), len(group)), np.full(len(group), -1)
    np.minimum.at(first, group, np.arange(len(group)))
    np.maximum.at(last, group, np.arange(len(group)))
    begin, end = links.positions.T
    latest = np.searchsorted(begin, first, "right") - 1  # of the positions that hold the first, it reaches farthest
    beyond = (last >= end[latest]) & (last < end[-1]) if len(end) else np.zeros(len(first), bool)
    return Relations(pairs, beyond[group[pairs[:, 0]]])


def picture(links: Links, found: Relations, videos: np.ndarray) -> str:
    """Above, the positions along the sequence; below, the identities with most relations, each on a line of its own.

    A relation has the colour and the number of the position that it was found in: the first one that holds its ends.
    """
    positions = links.positions[:POSITIONS]
    end = int(positions[-1, 1])
    shown = _most(links, found, end)
    rows = _rows(positions)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 0.7 + 0.2 * (max(rows) + 1) + 0.24 * len(shown)), layout="constrained")
        above, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [0.2 * (max(rows) + 2), 0.24 * max(len(shown), 1)]}
        )
        for number, (row, (begin, behind)) in enumerate(zip(rows, positions.tolist(), strict=True)):
            bar = Rectangle((begin - 0.5, row - 0.35), behind - begin, 0.7, facecolor=_colour(number), alpha=0.5)
            above.add_patch(bar)
            above.text((begin + behind) / 2, row, str(number + 1), ha="center", va="center", fontsize=8)
        above.set_ylim(max(rows) + 0.6, -0.6)
        above.set_ylabel("positions", rotation=0, ha="right", va="center")
        for line, identity in enumerate(shown):
            _identity(below, line, links, found, identity, positions)
        below.set_yticks(range(len(shown)), [f"identity {identity}" for identity in shown], fontsize=8)
        below.set_ylim(len(shown) - 0.4, -0.6)
        below.set_xlim(-0.01 * end, 1.01 * end)
        below.set_xlabel("the sequence of tracklets: by video (shaded in turns), and by when they are first seen")
        below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for axes in (above, below):
            _bands(axes, videos[:end])
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
        above.set_yticks([])
        above.tick_params(axis="x", length=0)
    spans = ", ".join(f"{begin} to {behind - 1}" for begin, behind in positions.tolist())
    return svg(figure, f"Sliding Range: positions {spans}; {len(found.pairs)} Linking Relations")


def _most(links: Links, found: Relations, end: int) -> list[int]:
    """The IDENTITIES with most relations before the node `end`, in the order in which they first come."""
    seen = found.pairs[found.pairs[:, 1] < end]
    ranked = pd.Series(links.identity[seen[:, 0]]).value_counts(sort=False).sort_index()
    most = ranked.sort_values(ascending=False, kind="stable").index[:IDENTITIES]
    return sorted(most.tolist(), key=lambda identity: int(np.argmax(links.identity == identity)))


def _rows(positions: np.ndarray) -> list[int]:
    """A row for each position, the highest in which the last one ends before it begins."""
    ends: list[int] = []
    rows = []
    for begin, behind in positions.tolist():
        row = next((i for i, last in enumerate(ends) if last <= begin), len(ends))
        ends[row : row + 1] = [behind]
        rows.append(row)
    return rows


def _identity(axes: Axes, line: int, links: Links, found: Relations, identity: int, positions: np.ndarray) -> None:
    """One identity's tracklets as dots, and its relations between them."""
    at = np.flatnonzero(links.identity[: positions[-1, 1]] == identity)
    mine = found.pairs[links.identity[found.pairs[:, 0]] == identity]
    axes.plot([at[0], at[-1]], [line, line], color=INK, alpha=0.35, linewidth=0.8, zorder=1)
    for low, high in mine[mine[:, 1] <= at[-1]].tolist():
        holds = np.flatnonzero((positions[:, 0] <= low) & (positions[:, 1] > high))
        if len(holds):  # none holds what was one at level 2 already
            axes.plot([low, high], [line, line], color=_colour(int(holds[0])), linewidth=2.2, zorder=2)
            if len(positions) > 1 and high - low > positions[-1, 1] / 60:
                axes.text((low + high) / 2, line - 0.08, str(holds[0] + 1), ha="center", va="bottom", fontsize=7)
    axes.plot(at, np.full(len(at), line), "o", color=INK, markersize=3.2, zorder=3)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _bands(axes: Axes, videos: np.ndarray) -> None:
    """Every second video shaded, unless they are too many to be told apart."""
    codes = pd.factorize(videos)[0]
    edges = np.flatnonzero(np.diff(codes)) + 1
    if len(edges) > BANDS:
        return
    for begin, end in zip([0, *edges], [*edges, len(videos)], strict=True):
        if codes[begin] % 2:
            axes.axvspan(begin - 0.5, end - 0.5, color=INK, alpha=0.06, linewidth=0)
