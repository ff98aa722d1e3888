"""Contact sheets of the levels: the crops that show best what each did. Frames in, rows out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.audit.sentences import counted, sentence
from cion_core.report.sheets import Row, RowReader, Strip, Tile, spread_evenly

# Pictures in the strip of a tracklet.
TRACKLET_TILES = 20
# Strips of an identity (its tracklets or videos), and pictures in each.
STRIPS = 6
STRIP_TILES = 4
# Identities, or tracklets, that are shown of each kind; of the dull kinds fewer.
SHOWN = 4
DULL_SHOWN = 2
# Actions that a sheet must not leave out.
UNUSUAL = {"dropped", "moved"}


def read_level(root: Path, level: str, table: pd.DataFrame, people: np.ndarray) -> pd.DataFrame:
    """What a level did to each crop.

    Args:
        root: the data folder.
        level: one of tables.LEVELS.
        table: a tables.Crops.
        people: float [N], by the truth the person of each crop, negative for nobody, NaN without
            truth.

    Returns:
        The ledger of the level with video, time_s, tracklet and person of each crop, its `row` in
        `table`, and its `identity` after the level (-1: none), in the order of time.
    """
    folder = root / "denoise" / level
    ledger = tables.read(tables.Ledger, folder / "ledger.parquet")
    kept = tables.read(tables.Identities, folder / "identities.parquet")

    columns = table[["crop", "video", "time_s", "tracklet"]]
    described = columns.assign(row=range(len(columns)), person=people)
    joined = described.merge(ledger, on="crop", how="inner")
    identity = joined.crop.map(kept.set_index("crop").identity)
    joined["identity"] = identity.fillna(-1).astype(int)
    return joined.sort_values(["video", "time_s", "crop"])


def show_tracklets(level: pd.DataFrame, read: RowReader) -> list[Row]:
    """Level ①: tracklets in the order of time, with the dropped crops marked where they stand.

    Shown are SHOWN that lost most crops and live on, DULL_SHOWN that were dropped whole, and as
    many that were left untouched.

    Args:
        level: as `read_level` gives it.
        read: gives the pictures.
    """
    is_dropped = level.assign(dropped=level.action == "dropped")
    counts = is_dropped.groupby("tracklet").dropped.agg(["sum", "size"])
    counts = counts.sort_values("sum", ascending=False, kind="stable")
    whole = counts["sum"] == counts["size"]
    untouched = counts["sum"] == 0
    partly = counts.index[~untouched & ~whole]
    chosen = [
        *partly[:SHOWN],
        *spread_evenly(counts.index[whole], DULL_SHOWN),
        *spread_evenly(counts.index[untouched], DULL_SHOWN),
    ]

    rows = []
    for tracklet in chosen:
        group = level[level.tracklet == tracklet]
        lost, total = counts.loc[tracklet]
        fate = f"{total} → {total - lost} crops"
        if lost == total:
            fate = "dropped whole"
        elif not lost:
            fate = f"{total} crops kept"
        tiles = [_make_tile(crop, read) for crop in sample_crops(group, TRACKLET_TILES)]
        verdict, _ = judge(group[group.identity >= 0].person)
        note = f"{group.video.iloc[0]} · {fate}"
        rows.append(Row(f"Tracklet {tracklet}", note, [Strip("", tiles)], verdict))
    return rows


def show_merges(level: pd.DataFrame, read: RowReader) -> list[Row]:
    """Level ②: identities made of several tracklets of one video, or that took in stray crops.

    Shown are SHOWN that took in most crops, and SHOWN of most tracklets.

    Args:
        level: as `read_level` gives it.
        read: gives the pictures.
    """
    kept = level[level.identity >= 0]
    tracklets = _highest_first(kept.groupby("identity").tracklet.nunique())
    moved = _highest_first(kept[kept.action == "moved"].groupby("identity").size())
    rows = []
    for identity in _take_first([moved.index, tracklets.index[tracklets > 1]], SHOWN):
        group = kept[kept.identity == identity]
        note = f"{group.video.iloc[0]} · {counted(tracklets[identity], 'tracklet')}"
        if identity in moved.index:
            note += f" · {counted(moved[identity], 'stray crop')} taken in"
        rows.append(_show_identity(identity, note, group, "tracklet", "tracklet {}", read))
    return rows


def show_links(level: pd.DataFrame, read: RowReader) -> list[Row]:
    """Level ③: identities seen in several videos, one strip per video.

    Shown are SHOWN of most videos, and the SHOWN with the widest links: the most doubtful.

    Args:
        level: as `read_level` gives it.
        read: gives the pictures.
    """
    kept = level[level.identity >= 0]
    videos = _highest_first(kept.groupby("identity").video.nunique())
    linked = kept[(kept.action == "linked") & kept.identity.map(videos).gt(1)]
    widest = _highest_first(linked.groupby("identity").distance.max().dropna())
    rows = []
    for identity in _take_first([videos.index[videos > 1], widest.index], SHOWN):
        group = kept[kept.identity == identity]
        tracklets = group.tracklet.nunique()
        note = f"{videos[identity]} videos · {tracklets} tracklets · {len(group)} crops"
        if identity in widest.index:
            note += f" · widest link {widest[identity]:.2f}"
        rows.append(_show_identity(identity, note, group, "video", "{}", read))
    return rows


def _show_identity(
    identity: int,
    note: str,
    group: pd.DataFrame,
    part_column: str,
    part_title: str,
    read: RowReader,
) -> Row:
    """The crops of an identity, a strip for each of its tracklets or videos."""
    verdict, person = judge(group.person)
    parts = list(group.groupby(part_column, sort=False))
    strips = []
    for number, (name, part) in enumerate(parts[:STRIPS]):
        tiles = [_make_tile(crop, read, person) for crop in sample_crops(part, STRIP_TILES)]
        distance = part[part.action.isin(["merged", "linked"])].distance.min()
        joined = ""
        if number > 0 and not np.isnan(distance):
            joined = f"joined at {max(distance, 0):.2f}"
        strips.append(Strip(part_title.format(name), tiles, joined))
    if len(parts) > STRIPS:
        strips.append(Strip(f"and {len(parts) - STRIPS} more", []))
    return Row(f"Identity {identity}", note, strips, verdict)


def _make_tile(crop: Any, read: RowReader, person: float = np.nan) -> Tile:
    """The picture of a crop, with what was done to it.

    Args:
        crop: a row of `read_level`, as itertuples gives it.
        read: gives the picture.
        person: whose identity it is; a crop of anybody else is marked wrong.
    """
    hint = f"crop {crop.crop}, {crop.time_s:.1f} s: {crop.action}, {sentence(crop)}"
    mark, caption = "", ""
    if crop.action in UNUSUAL:
        mark = crop.action
        if not np.isnan(crop.distance):
            caption = f"{crop.distance:.2f}"
    if crop.person < 0:
        hint = f"{hint}; matches nobody of the truth"
    elif crop.person >= 0 and not np.isnan(person) and crop.person != person:
        mark = "wrong"
        hint = f"{hint}; by the truth someone else"
    return Tile(read(crop.row), mark, caption, hint)


def judge(people: pd.Series) -> tuple[tuple[str, str] | None, float]:
    """What the truth says of crops that were put together.

    Args:
        people: the person of each crop, negative for nobody, NaN without truth.

    Returns:
        A mark and its words, and whose most of the crops are; (None, NaN) without truth.
    """
    if people.empty or people.isna().any():
        return None, np.nan
    known = people[people >= 0].value_counts()
    if known.empty:
        return ("wrong", "shows nobody"), np.nan

    addition = ""
    if (people < 0).any():
        addition = f"; {(people < 0).mean():.0%} of the crops match nobody"
    person, crops_of_person = known.index[0], known.iloc[0]
    if len(known) == 1:
        return ("right", f"one person{addition}"), person
    share = f"{crops_of_person / len(people):.0%} one of them"
    return ("wrong", f"{len(known)} people, {share}{addition}"), person


def sample_crops(group: pd.DataFrame, limit: int) -> list:
    """At most `limit` crops in their order.

    Those that were dropped or moved come first, but leave a third of the places to others, which
    are evenly spaced.
    """
    unusual = group.action.isin(UNUSUAL)
    chosen = spread_evenly(np.flatnonzero(unusual), limit - limit // 3)
    chosen += spread_evenly(np.flatnonzero(~unusual), limit - len(chosen))
    return list(group.iloc[sorted(chosen)].itertuples())


def _take_first(rankings: list[Iterable], limit: int) -> list:
    """The first `limit` of each ranking, none twice: what one ranking has taken, the next skips."""
    chosen: list = []
    for ranking in rankings:
        others = [item for item in ranking if item not in chosen]
        chosen += others[:limit]
    return chosen


def _highest_first(values: pd.Series) -> pd.Series:
    return values.sort_values(ascending=False, kind="stable")
