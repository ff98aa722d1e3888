"""Contact sheets: which crops show best what a level did, and what an evaluation found. Frames in, rows out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cion_core import crops, tables
from cion_core.audit.sentences import sentence
from cion_core.errors import CionError
from cion_core.images import read_image

HEIGHT = 112  # pixels of a picture on the page
QUALITY = 80
TILES = 20  # pictures in a strip of level ①
STRIPS = 6  # tracklets or videos of one identity
PER_STRIP = 4
UNUSUAL = {"dropped", "moved"}  # actions that a sheet must not leave out


@dataclass(frozen=True)
class Tile:
    """One picture: a data URI, what was done to it (a mark of page.html), a caption, a tooltip."""

    image: str
    mark: str = ""
    caption: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures of one tracklet, video or query in their order."""

    title: str
    tiles: list[Tile]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One tracklet, identity or query."""

    title: str
    note: str = ""
    strips: list[Strip] = field(default_factory=list)
    verdict: tuple[str, str] | None = None  # a mark in words: right or wrong by the truth if known, or what was done


def picture(image: np.ndarray) -> str:
    """RGB uint8 [H, W, 3] as a JPEG data URI of height HEIGHT."""
    height, width = image.shape[:2]
    size = (int(np.clip(round(width * HEIGHT / height), HEIGHT // 4, HEIGHT)), HEIGHT)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def level_table(table: pd.DataFrame, ledger: pd.DataFrame, kept: pd.DataFrame, people: np.ndarray) -> pd.DataFrame:
    """Crops with their `row` in the store, what a level did to each, and the identity after it (-1: none).

    people: by the truth, the person of each crop, negative for nobody, NaN without truth.
    """
    table = table[["crop", "video", "time_s", "tracklet"]].assign(row=range(len(table)), person=people)
    table = table.merge(ledger, on="crop", how="inner")
    identity = kept.set_index("crop").identity
    return table.assign(identity=table.crop.map(identity).fillna(-1).astype(int)).sort_values(
        ["video", "time_s", "crop"]
    )


def tracklets(table: pd.DataFrame, read: Callable[[int], np.ndarray]) -> list[Row]:
    """Level ①: tracklets in time order with the dropped crops marked where they stand.

    Shown are the four that lost most crops and live on, two that were dropped whole, and two left untouched.
    """
    dropped = table.assign(dropped=table.action == "dropped").groupby("tracklet").dropped.agg(["sum", "size"])
    dropped = dropped.sort_values("sum", ascending=False, kind="stable")
    whole = dropped["sum"] == dropped["size"]
    partly = dropped[(dropped["sum"] > 0) & ~whole]
    chosen = [*partly.index[:4], *spread(dropped.index[whole], 2), *spread(dropped.index[dropped["sum"] == 0], 2)]
    rows = []
    for tracklet in chosen:
        group = table[table.tracklet == tracklet]
        lost, all_ = dropped.loc[tracklet]
        after = "dropped whole" if lost == all_ else f"{all_} → {all_ - lost} crops" if lost else f"{all_} crops kept"
        strip = Strip("", [_tile(crop, read) for crop in sample(group, TILES)])
        verdict, _ = judge(group[group.identity >= 0].person)
        rows.append(Row(f"Tracklet {tracklet}", f"{group.video.iloc[0]} · {after}", [strip], verdict))
    return rows


def merges(table: pd.DataFrame, read: Callable[[int], np.ndarray]) -> list[Row]:
    """Level ②: identities made of several tracklets of one video, or that were given stray crops.

    Shown are four with moved crops, four of most tracklets.
    """
    kept = table[table.identity >= 0]
    parts = kept.groupby("identity").tracklet.nunique().sort_values(ascending=False, kind="stable")
    moved = kept[kept.action == "moved"].groupby("identity").size().sort_values(ascending=False, kind="stable")
    rows = []
    for identity in _first([moved.index, parts.index[parts > 1]], 4):
        group = kept[kept.identity == identity]
        given = int((group.action == "moved").sum())
        note = f"{group.video.iloc[0]} · {parts[identity]} tracklet{_s(parts[identity])}"
        note += f" · {given} stray crop{_s(given)} taken in" if given else ""
        rows.append(_identity(identity, note, group, "tracklet", "tracklet {}", read))
    return rows


def links(table: pd.DataFrame, read: Callable[[int], np.ndarray]) -> list[Row]:
    """Level ③: identities seen in several videos, one strip per video.

    Shown are four of most videos, and the four whose widest link is the widest: the most doubtful.
    """
    kept = table[table.identity >= 0]
    videos = kept.groupby("identity").video.nunique().sort_values(ascending=False, kind="stable")
    linked = kept[(kept.action == "linked") & kept.identity.map(videos).gt(1)]
    doubt = linked.groupby("identity").distance.max().dropna().sort_values(ascending=False, kind="stable")
    rows = []
    for identity in _first([videos.index[videos > 1], doubt.index], 4):
        group = kept[kept.identity == identity]
        note = f"{videos[identity]} videos · {group.tracklet.nunique()} tracklets · {len(group)} crops"
        if identity in doubt.index:
            note += f" · widest link {doubt[identity]:.2f}"
        rows.append(_identity(identity, note, group, "video", "{}", read))
    return rows


def retrieval(lists: dict[str, pd.DataFrame], read: Callable[[str], np.ndarray], queries: int = 8) -> list[Row]:
    """Ranked lists of the same queries by several models; right and wrong as the evaluation judged them."""
    common = [set(df["query"]) for df in lists.values()]
    first = next(iter(lists.values()))["query"].unique()
    rows = []
    for query in spread([q for q in first if all(q in seen for seen in common)], queries):
        strips = [Strip("query", [Tile(read(query), "query", "", Path(query).name)])]
        for model, df in lists.items():
            ranks = df[df["query"] == query].sort_values("rank")
            tiles = [
                Tile(
                    read(r.gallery),
                    "right" if r.right else "wrong",
                    f"{r.distance:.2f}",
                    f"rank {r.rank}: {Path(r.gallery).name}",
                )
                for r in ranks.itertuples()
            ]
            strips.append(Strip(model, tiles, f"{ranks.right.sum()} of {len(ranks)} right"))
        rows.append(Row(Path(query).name, "", strips))
    return rows


def store_reader(root: Path, table: pd.DataFrame) -> Callable[[int], str]:
    """Row of `crops.parquet` -> data URI."""
    store = crops.CropStore(root / "tracklets/crops", table)
    return lambda row: picture(store.read(row))


def file_reader(path: str) -> str:
    """Image file -> data URI; an empty one where it is gone or broken (a benchmark is only referenced)."""
    try:
        return picture(read_image(path))
    except CionError:
        return ""


def read_level(root: Path, level: str, table: pd.DataFrame, people: np.ndarray) -> pd.DataFrame:
    """`level_table` of a level's outputs on disk."""
    folder = root / "denoise" / level
    ledger = tables.read(tables.Ledger, folder / "ledger.parquet")
    return level_table(table, ledger, tables.read(tables.Identities, folder / "identities.parquet"), people)


def spread(items: Iterable, n: int) -> list:
    """At most `n` of `items`, evenly spaced, first and last among them."""
    items = list(items)
    if len(items) <= n:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int)]


def sample(group: pd.DataFrame, n: int) -> list:
    """At most `n` crops in order: those dropped or moved first of all, then evenly spaced others."""
    unusual = group.action.isin(UNUSUAL)
    must = spread(np.flatnonzero(unusual), n - n // 3)
    others = spread(np.flatnonzero(~unusual), n - len(must))
    return list(group.iloc[sorted([*must, *others])].itertuples())


def _first(rankings: list[Iterable], n: int) -> list:
    """The first `n` of each ranking, none twice."""
    chosen: dict = {}
    for ranking in rankings:
        chosen |= dict.fromkeys([item for item in ranking if item not in chosen][:n])
    return list(chosen)


def judge(people: pd.Series) -> tuple[tuple[str, str] | None, float]:
    """What the truth says of crops put together, and whose most of them are; (None, NaN) without truth."""
    if people.empty or people.isna().any():
        return None, np.nan
    seen = people[people >= 0].value_counts()
    if seen.empty:
        return ("wrong", "shows nobody"), np.nan
    nobody = f"; {(people < 0).mean():.0%} of the crops match nobody" if (people < 0).any() else ""
    if len(seen) == 1:
        return ("right", f"one person{nobody}"), seen.index[0]
    return ("wrong", f"{len(seen)} people, {seen.iloc[0] / len(people):.0%} one of them{nobody}"), seen.index[0]


def _identity(identity: int, note: str, group: pd.DataFrame, by: str, title: str, read: Callable) -> Row:
    verdict, most = judge(group.person)
    strips = []
    parts = list(group.groupby(by, sort=False))
    for i, (name, part) in enumerate(parts[:STRIPS]):
        joined = part[part.action.isin(["merged", "linked"])].distance.min()
        joined_at = f"joined at {max(joined, 0):.2f}" if i and not np.isnan(joined) else ""
        strips.append(
            Strip(title.format(name), [_tile(crop, read, most) for crop in sample(part, PER_STRIP)], joined_at)
        )
    if len(parts) > STRIPS:
        strips.append(Strip(f"and {len(parts) - STRIPS} more", []))
    return Row(f"Identity {identity}", note, strips, verdict)


def _tile(crop, read: Callable[[int], str], person: float = np.nan) -> Tile:
    """`person`: whose identity it is; a crop of anybody else is marked wrong."""
    far = "" if np.isnan(crop.distance) else f"{crop.distance:.2f}"
    hint = f"crop {crop.crop}, {crop.time_s:.1f} s: {crop.action}, {sentence(crop)}"
    mark = crop.action if crop.action in UNUSUAL else ""
    if crop.person < 0:
        hint = f"{hint}; matches nobody of the truth"
    elif crop.person >= 0 and not np.isnan(person) and crop.person != person:
        mark, hint = "wrong", f"{hint}; by the truth someone else"
    return Tile(read(crop.row), mark, far if crop.action in UNUSUAL else "", hint)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
