"""Why is this crop here: the way of a few telling crops through the levels, as pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables
from cion_core.audit import explain
from cion_core.audit.nearby import Group
from cion_core.audit.sentences import counted
from cion_core.report import sheets
from cion_core.report.level_sheets import UNUSUAL
from cion_core.report.sheets import Row, Strip, Tile

# The title of each kind of crop and why it was chosen, in the order of the page.
KINDS = {
    "dropped": (
        "Dropped",
        "of the crops that ① took out and ② found no home for, the farthest from its tracklet",
    ),
    "moved": ("Moved", "② took it in: far from its own tracklet, near another identity"),
    "linked": ("Linked", "a link across videos of middling width: half of them are wider"),
    "doubtful": (
        "Linked doubtfully",
        "the widest link across videos: if one is wrong, it is likely this",
    ),
    "alone": (
        "Kept alone",
        "of the identities that were linked with none, the one with another nearest to it",
    ),
    "apart": (
        "Held apart",
        "the nearest other identity was seen together with its own, so they are two people",
    ),
}
# The order in which kinds choose, the most telling first.
CHOICE_ORDER = ("doubtful", "apart", "alone", "linked", "moved", "dropped")
TITLES = {
    "tracklet": "① In its tracklet",
    "video": "② In its video",
    "cross_video": "③ Across videos",
}
# What gives the picture of a crop, as a data URI, by its number.
CropReader = Callable[[int], str]


@dataclass(frozen=True)
class Way:
    """One crop and its way through the levels.

    Attributes:
        title: of its kind.
        note: why it was chosen, and where it ended.
        crop: its picture.
        levels: a row for each level.
    """

    title: str
    note: str
    crop: Strip
    levels: list[Row]


def show_ways(settings: params.Denoise, root: Path) -> list[Way]:
    """A crop of each of KINDS that the footage has, and its way through the levels.

    Args:
        settings: of denoising.
        root: the data folder.
    """
    teller = explain.read(settings, root)
    table = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    read_row = sheets.crop_reader(root, table)
    row_of_crop = pd.Series(range(len(table)), table.crop)
    seconds = table.set_index("crop").time_s

    def read(crop: int) -> str:
        return read_row(row_of_crop[crop])

    chosen = choose_crops(teller.ledgers, teller.across.nearest())
    ways = []
    for kind in KINDS:
        if kind in chosen:
            crop = chosen[kind]
            ways.append(show_way(kind, teller.tell(crop), float(seconds[crop]), read))
    return ways


def choose_crops(ledgers: dict[str, pd.DataFrame], nearest: pd.DataFrame) -> dict[str, int]:
    """The crop that shows each of KINDS best, of those kinds that there are.

    No identity stands for two kinds. An identity is shown by its crop nearest to its tracklet's
    centre.

    Args:
        ledgers: of each level, by its name.
        nearest: as `Around.nearest` of level 3 gives it.

    Returns:
        Crop numbers by kind.
    """
    first, second, third = (ledgers[level].set_index("crop") for level in tables.LEVELS)
    candidates = _rank_candidates(first, second, third, nearest)

    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for kind in CHOICE_ORDER:
        ranks = candidates[kind].rename("rank").to_frame()
        ranks = ranks.join([first.distance, third.to])
        free = ranks[~ranks.to.isin(taken)].sort_values(["rank", "distance"])
        if len(free):
            chosen[kind] = int(free.index[0])
            taken |= set(free.to.iloc[:1].dropna())
    return chosen


def _rank_candidates(
    first: pd.DataFrame,
    second: pd.DataFrame,
    third: pd.DataFrame,
    nearest: pd.DataFrame,
) -> dict[str, pd.Series]:
    """For each kind a number for each of its crops: the lower, the better the crop shows it.

    Args:
        first, second, third: the ledgers of the levels, by crop.
        nearest: identity, distance to the nearest other, forbidden.
    """
    dropped = first.distance[first.action == "dropped"]
    lost = second.action.reindex(dropped.index) == "dropped"
    moved = second.distance[second.action == "moved"]
    linked = third.distance[third.action == "linked"]

    # The identity nearest to that of each crop, as far as there is one.
    around = nearest.set_index("identity")[["distance", "forbidden"]]
    around = around.rename(columns={"distance": "distance_of_nearest"})
    with_nearest = third.join(around, on="from")
    to_nearest = with_nearest.distance_of_nearest
    exists = np.isfinite(to_nearest)
    forbidden = with_nearest.forbidden.eq(True)
    kept = with_nearest.action == "kept"
    return {
        "dropped": -dropped[lost],
        "moved": moved - first.distance.reindex(moved.index),
        "linked": (linked - linked.median()).abs(),
        "doubtful": -linked,
        "alone": to_nearest[exists & kept & ~forbidden],
        "apart": to_nearest[exists & forbidden],
    }


def show_way(kind: str, story: explain.Story, second: float, read: CropReader) -> Way:
    """The story of a crop as pictures.

    Args:
        kind: one of KINDS.
        story: of the crop.
        second: of the video, at which it was seen.
        read: gives the pictures.
    """
    title, reason = KINDS[kind]
    last = story.steps[-1]
    fate = "left out"
    if last.after >= 0:
        size = f"{counted(last.crops, 'crop')} in {counted(last.videos, 'video')}"
        fate = f"identity {last.after}, {size}"
    where = f"{story.seen['video']}, {second:.1f} s"
    tile = Tile(read(story.crop), "query", hint=where)
    crop = Strip(f"Crop {story.crop}", [tile], where)
    levels = [_show_step(step, read) for step in story.steps]
    return Way(title, f"{reason} → {fate}", crop, levels)


def _show_step(step: explain.Step, read: CropReader) -> Row:
    """What one level did: the crop's own tracklet, who it was put with, and who it was not."""
    strips = []
    place = step.place
    if place:
        title = f"Its {counted(place.of, 'crop')}"
        tiles = [Tile(read(crop), hint=f"crop {crop}") for crop in place.shown]
        note = f"median {place.median:.3f}, largest {place.largest:.3f}"
        strips.append(Strip(title, tiles, note))
    if step.joined:
        tiles = [_show_group(group, read) for group in step.joined]
        note = ""
        if step.parts > len(step.joined):
            note = f"nearest {len(step.joined)} of {step.parts}"
        strips.append(Strip("Put with", tiles, note))
    if step.others:
        tiles = [_show_group(group, read) for group in step.others]
        strips.append(Strip("Not put with", tiles, _describe_limit(step)))

    title = TITLES[step.level]
    if step.action in UNUSUAL:
        return Row(title, step.reason, strips, (step.action, step.action))
    return Row(f"{title}: {step.action}", step.reason, strips)


def _describe_limit(step: explain.Step) -> str:
    """The threshold that distances to others are held against."""
    if step.adapted:
        # Links go by neighbourhoods, which these distances are not.
        return ""
    # A dropped or moved crop is held against a radius, an identity against the separation.
    name = "radius" if step.action in UNUSUAL else "separation"
    value = getattr(step.thresholds, name)
    return "" if value is None else f"{name} {value:.3f}"


def _show_group(group: Group, read: CropReader) -> Tile:
    """An identity, as a picture of one of its crops and its distance."""
    crop = group.shown[0]
    size = counted(group.crops, "crop")
    hint = f"identity {group.identity}, {size}, {group.distance:.3f} away; this is crop {crop}"
    mark = ""
    if group.forbidden:
        mark = "apart"
        hint = f"seen together, so two people: {hint}"
    return Tile(read(crop), mark, f"{group.distance:.2f}", hint)
