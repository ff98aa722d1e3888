"""The Sliding Range over this footage's own sequence.

Drawn are its positions, where they overlap, and the Linking Relations that were found in them.
"""

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
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.report.plots import BLUE, GREEN, INK, ORANGE, SETTINGS, to_svg

# At most so many positions are drawn, the first ones, and so many identities.
POSITIONS = 24
IDENTITIES = 14
# Videos: more shaded bands would be a haze.
BANDS = 400
# The colours of positions, by turns.
COLOURS = (BLUE, ORANGE, GREEN, "#9b62d4", "#c2455e", "#a07a4f")
SEQUENCE = "the sequence of tracklets: by video (shaded in turns), and by when they are first seen"
# Inches of a row of positions, and of an identity's line.
POSITION_HEIGHT = 0.2
IDENTITY_HEIGHT = 0.24
# A relation that is narrower than this share of the sequence has no room for its number.
NUMBERED_SHARE = 1 / 60


@dataclass(frozen=True)
class Relations:
    """Neighbours in the sequence that are one identity, though level 2 did not have them as one.

    Attributes:
        pairs: int [M, 2], nodes, the lower first.
        of_wide: bool [M], whether the relation is of an identity that no position holds whole.
    """

    pairs: np.ndarray
    of_wide: np.ndarray


@dataclass(frozen=True)
class SlidingSummary:
    """What the page says of the Sliding Range; it counts tracklets, as level 3 compares them.

    Attributes:
        tracklets: in the sequence.
        later: of them, those of videos that came later, which lie in no position.
        positions: how many.
        size: of the largest position.
        overlap: the most that two positions in a row share.
        relations: how many.
        across: of them, those that lead to another video.
        wide_identities: those that no position holds whole.
        picture: SVG; empty where nothing was compared.
    """

    tracklets: int
    later: int
    positions: int
    size: int
    overlap: int
    relations: int
    across: int
    wide_identities: int
    picture: str


def summarise(root: Path) -> SlidingSummary:
    """Describe the Sliding Range by what level 3 has left.

    Raises:
        CionError: the level has not run.
    """
    links = state.read_links(root / "denoise/cross_video/links.npz")
    videos = _find_videos(root, links.video_identity)
    relations = find_relations(links)
    begins, ends = links.positions.T
    last_compared = int(ends.max(initial=0))
    video_numbers = pd.factorize(videos)[0]
    lower, higher = relations.pairs.T
    wide = links.identity[relations.pairs[relations.of_wide]]
    return SlidingSummary(
        tracklets=len(links.video_identity),
        later=len(links.video_identity) - last_compared,
        positions=len(links.positions),
        size=int((ends - begins).max(initial=0)),
        overlap=int((ends[:-1] - begins[1:]).max(initial=0)),
        relations=len(relations.pairs),
        across=int((video_numbers[lower] != video_numbers[higher]).sum()),
        wide_identities=len(np.unique(wide)),
        picture=draw_positions(links, relations, videos) if len(links.positions) else "",
    )


def _find_videos(root: Path, names: np.ndarray) -> np.ndarray:
    """The video of each node, str [n]: all crops of an identity of level 2 are of one."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    identities = tables.read(tables.Identities, root / "denoise/video/identities.parquet")
    first_crop = identities.drop_duplicates("identity").set_index("identity").crop
    return crops.video.loc[first_crop.loc[names]].to_numpy(str)


def find_relations(links: LinkRecord) -> Relations:
    """The Linking Relations along the sequence.

    Two nodes are related where one follows the other in their identity. Related nodes share a
    position, for whatever joined nodes to their left and right holds them too. The exception is an
    identity of level 2 whose tracklets lie farther apart than a position is wide.
    """
    # 1. Order the nodes by identity, then by place: related ones are neighbours in this order.
    places = np.arange(len(links.identity))
    order = np.lexsort((places, links.identity))
    lower, higher = order[:-1], order[1:]
    same_identity = links.identity[lower] == links.identity[higher]
    new_at_level_3 = links.video_identity[lower] != links.video_identity[higher]
    pairs = np.stack([lower, higher], 1)[same_identity & new_at_level_3]

    # 2. The first and the last node of each identity.
    _, group = np.unique(links.identity, return_inverse=True)
    first = np.full(len(group), len(group))
    last = np.full(len(group), -1)
    np.minimum.at(first, group, places)
    np.maximum.at(last, group, places)

    # 3. Of the positions that hold an identity's first node, the latest reaches farthest. Nodes
    # behind the last position came later and do not count.
    is_wide = np.zeros(len(group), bool)
    if len(links.positions):
        begins, ends = links.positions.T
        latest = np.searchsorted(begins, first, "right") - 1
        is_wide = (last >= ends[latest]) & (last < ends[-1])
    group_of_pair = group[pairs[:, 0]]
    return Relations(pairs, is_wide[group_of_pair])


def draw_positions(links: LinkRecord, relations: Relations, videos: np.ndarray) -> str:
    """Above, the positions along the sequence; below, the identities with most relations.

    Each identity has a line. A relation has the colour and the number of the position that it was
    found in: the first one that holds both ends.

    Args:
        links: of level 3, with one position at least.
        relations: as `find_relations` gives them.
        videos: str [n], of each node.

    Returns:
        SVG.
    """
    positions = links.positions[:POSITIONS]
    end = int(positions[-1, 1])
    identities = _choose_identities(links, relations, end)
    rows = arrange_in_rows(positions)
    row_count = max(rows) + 1
    heights = [
        POSITION_HEIGHT * (row_count + 1),
        IDENTITY_HEIGHT * max(len(identities), 1),
    ]
    with matplotlib.rc_context(SETTINGS):
        height = 0.7 + POSITION_HEIGHT * row_count + IDENTITY_HEIGHT * len(identities)
        figure = Figure(figsize=(11, height), layout="constrained")
        ratios = {"height_ratios": heights}
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw=ratios)
        _draw_bars(above, positions, rows)
        above.set_ylim(row_count - 0.4, -0.6)
        above.set_ylabel("positions", rotation=0, ha="right", va="center")
        for line, identity in enumerate(identities):
            _draw_identity(below, line, links, relations, identity, positions)
        names = [f"identity {identity}" for identity in identities]
        below.set_yticks(range(len(identities)), names, fontsize=8)
        below.set_ylim(len(identities) - 0.4, -0.6)
        below.set_xlim(-0.01 * end, 1.01 * end)
        below.set_xlabel(SEQUENCE)
        below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for panel in (above, below):
            _shade_videos(panel, videos[:end])
            panel.spines["left"].set_visible(False)
            panel.tick_params(axis="y", length=0)
        above.set_yticks([])
        above.tick_params(axis="x", length=0)

    spans = ", ".join(f"{begin} to {behind - 1}" for begin, behind in positions.tolist())
    found = f"{len(relations.pairs)} Linking Relations"
    return to_svg(figure, f"Sliding Range: positions {spans}; {found}")


def _choose_identities(links: LinkRecord, relations: Relations, end: int) -> list[int]:
    """The IDENTITIES with most relations before the node `end`, in the order of first nodes."""
    drawn = relations.pairs[relations.pairs[:, 1] < end]
    counts = pd.Series(links.identity[drawn[:, 0]]).value_counts(sort=False).sort_index()
    most_first = counts.sort_values(ascending=False, kind="stable")
    chosen = most_first.index[:IDENTITIES].tolist()
    return sorted(chosen, key=lambda identity: int(np.argmax(links.identity == identity)))


def arrange_in_rows(positions: np.ndarray) -> list[int]:
    """A row for each position: the first, from above, whose last one ends before it begins.

    Args:
        positions: int [P, 2], the first node and the one behind the last, in order.
    """
    row_ends: list[int] = []
    rows = []
    for begin, behind in positions.tolist():
        free = [row for row, row_end in enumerate(row_ends) if row_end <= begin]
        if free:
            row = free[0]
            row_ends[row] = behind
        else:
            row = len(row_ends)
            row_ends.append(behind)
        rows.append(row)
    return rows


def _draw_bars(panel: Axes, positions: np.ndarray, rows: list[int]) -> None:
    """Each position as a bar with its number, from 1."""
    for number, (begin, behind) in enumerate(positions.tolist()):
        row = rows[number]
        corner, colour = (begin - 0.5, row - 0.35), _colour(number)
        panel.add_patch(Rectangle(corner, behind - begin, 0.7, facecolor=colour, alpha=0.5))
        middle = (begin + behind) / 2
        panel.text(middle, row, str(number + 1), ha="center", va="center", fontsize=8)


def _draw_identity(
    panel: Axes,
    line: int,
    links: LinkRecord,
    relations: Relations,
    identity: int,
    positions: np.ndarray,
) -> None:
    """One identity's tracklets as dots, and its relations between them."""
    begins, ends = positions.T
    nodes = np.flatnonzero(links.identity[: ends[-1]] == identity)
    panel.plot(nodes[[0, -1]], [line, line], color=INK, alpha=0.35, linewidth=0.8, zorder=1)

    own = relations.pairs[links.identity[relations.pairs[:, 0]] == identity]
    for low, high in own[own[:, 1] <= nodes[-1]].tolist():
        holding = np.flatnonzero((begins <= low) & (high < ends))
        if not len(holding):
            # It was one identity at level 2 already, in which no position found it.
            continue
        number = int(holding[0])
        panel.plot([low, high], [line, line], color=_colour(number), linewidth=2.2, zorder=2)
        if len(positions) > 1 and high - low > ends[-1] * NUMBERED_SHARE:
            middle = (low + high) / 2
            label = {"ha": "center", "va": "bottom", "fontsize": 7}
            panel.text(middle, line - 0.08, str(number + 1), **label)
    dots = {"color": INK, "markersize": 3.2, "zorder": 3}
    panel.plot(nodes, np.full(len(nodes), line), "o", **dots)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _shade_videos(panel: Axes, videos: np.ndarray) -> None:
    """Every second video shaded, unless they are too many to be told apart."""
    numbers = pd.factorize(videos)[0]
    borders = np.flatnonzero(np.diff(numbers)) + 1
    if len(borders) > BANDS:
        return
    begins, ends = [0, *borders], [*borders, len(videos)]
    for begin, end in zip(begins, ends, strict=True):
        if numbers[begin] % 2:
            panel.axvspan(begin - 0.5, end - 0.5, color=INK, alpha=0.06, linewidth=0)
