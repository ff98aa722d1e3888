"""Why is this crop here: the way of a few telling crops through the levels, as pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables
from cion_core.audit import explain as why
from cion_core.audit.nearby import Group
from cion_core.audit.sentences import counted
from cion_core.report import sheets
from cion_core.report.sheets import Row, Strip, Tile

KINDS = {  # in the order of the page
    "dropped": ("Dropped", "of the crops that ① took out and ② found no home for, the farthest from its tracklet"),
    "moved": ("Moved", "② took it in: far from its own tracklet, near another identity"),
    "linked": ("Linked", "a link across videos of middling width: half of them are wider"),
    "doubtful": ("Linked doubtfully", "the widest link across videos: if one is wrong, it is likely this"),
    "alone": ("Kept alone", "of the identities that were linked with none, the one with another nearest to it"),
    "apart": ("Held apart", "the nearest other identity was seen together with its own, so they are two people"),
}
TELLING = ("doubtful", "apart", "alone", "linked", "moved", "dropped")  # which kind may choose first
WHERE = dict(zip(tables.LEVELS, ("① In its tracklet", "② In its video", "③ Across videos"), strict=True))


@dataclass(frozen=True)
class Way:
    """One crop: of which kind it is, why it was chosen and where it ended, its picture, and a row for each level."""

    title: str
    note: str
    crop: Strip
    levels: list[Row]


def ways(p: params.Denoise, root: Path) -> list[Way]:
    """A crop of each of KINDS that the footage has, and its way through the levels."""
    teller = why.read(p, root)
    table = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    store, rows = sheets.store_reader(root, table), pd.Series(range(len(table)), table.crop)
    chosen = choose(teller.ledgers, teller.across.nearest())
    seconds = table.set_index("crop").time_s
    return [
        way(kind, teller.tell(chosen[kind]), float(seconds[chosen[kind]]), lambda crop: store(rows[crop]))
        for kind in KINDS if kind in chosen
    ]  # fmt: skip


def choose(ledgers: dict[str, pd.DataFrame], nearest: pd.DataFrame) -> dict[str, int]:
    """The crop that shows each of KINDS best, of those kinds that there are; no identity stands for two.

    ledgers: of each level by name. nearest: as `Around.nearest` of level 3. An identity is shown by its crop nearest
    to its tracklet's centre.
    """
    first, second, third = (ledgers[level].set_index("crop") for level in tables.LEVELS)
    third = third.join(nearest.set_index("identity")[["distance", "forbidden"]], on="from", rsuffix="_of_nearest")
    beside = third.distance_of_nearest[np.isfinite(third.distance_of_nearest)]
    forbidden, linked = third.forbidden.eq(True), third.distance[third.action == "linked"]
    lost = first.distance[first.action == "dropped"]
    moved = second.distance[second.action == "moved"]
    lowest_first = {
        "dropped": -lost[second.action.reindex(lost.index) == "dropped"],
        "moved": moved - first.distance.reindex(moved.index),
        "linked": (linked - linked.median()).abs(),
        "doubtful": -linked,
        "alone": beside[(third.action == "kept") & ~forbidden],
        "apart": beside[forbidden],
    }
    chosen, taken = {}, set()
    for kind in TELLING:
        ranked = lowest_first[kind].rename("value").to_frame().join([first.distance, third.to])
        ranked = ranked[~ranked.to.isin(taken)].sort_values(["value", "distance"])
        if len(ranked):
            chosen[kind] = int(ranked.index[0])
            taken |= set(ranked.to.iloc[:1].dropna())
    return chosen


def way(kind: str, story: why.Story, second: float, read: Callable[[int], str]) -> Way:
    """The story of a crop as pictures. second: of its video; read: crop number -> data URI."""
    title, chosen = KINDS[kind]
    end, now = story.steps[-1], "left out"
    if end.after >= 0:
        now = f"identity {end.after}, {counted(end.crops, 'crop')} in {counted(end.videos, 'video')}"
    seen = f"{story.seen['video']}, {second:.1f} s"
    crop = Strip(f"Crop {story.crop}", [Tile(read(story.crop), "query", hint=seen)], seen)
    return Way(title, f"{chosen} → {now}", crop, [_level(step, read) for step in story.steps])


def _level(step: why.Step, read: Callable[[int], str]) -> Row:
    where, unusual, strips = WHERE[step.level], step.action in sheets.UNUSUAL, []
    if place := step.place:
        note = f"median {place.median:.3f}, largest {place.largest:.3f}"
        tiles = [Tile(read(crop), hint=f"crop {crop}") for crop in place.shown]
        strips.append(Strip(f"Its {counted(place.of, 'crop')}", tiles, note))
    if step.joined:
        more = f"nearest {len(step.joined)} of {step.parts}" if step.parts > len(step.joined) else ""
        strips.append(Strip("Put with", [_tile(group, read) for group in step.joined], more))
    if step.others:
        strips.append(Strip("Not put with", [_tile(group, read) for group in step.others], _limit(step)))
    verdict = (step.action, step.action) if unusual else None
    return Row(where if unusual else f"{where}: {step.action}", step.reason, strips, verdict)


def _limit(step: why.Step) -> str:
    """The threshold that distances to others are held against."""
    if step.adapted:
        return ""  # links go by neighbourhoods, which these distances are not
    name = "radius" if step.action in sheets.UNUSUAL else "separation"  # a crop on its own, or identities
    value = getattr(step.thresholds, name)
    return "" if value is None else f"{name} {value:.3f}"


def _tile(group: Group, read: Callable[[int], str]) -> Tile:
    crop = group.shown[0]
    hint = f"identity {group.identity}, {counted(group.crops, 'crop')}, {group.distance:.3f} away; this is crop {crop}"
    if group.forbidden:
        hint = f"seen together, so two people: {hint}"
    return Tile(read(crop), "apart" if group.forbidden else "", f"{group.distance:.2f}", hint)
