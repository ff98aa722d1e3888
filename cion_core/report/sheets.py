"""Contact sheets: rows of pictures, and those that show what an evaluation found."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from cion_core import crops
from cion_core.errors import CionError
from cion_core.images import read_image

# Pixels of a picture on the page.
HEIGHT = 112
JPEG_QUALITY = 80
# Queries that are shown at most.
QUERIES = 8
# What gives the picture of a crop, as a data URI, by its row in crops.parquet.
RowReader = Callable[[int], str]


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        image: a data URI; empty where there is no file.
        mark: what was done to it, or what the truth says, as a class of page.html; empty for none.
        caption: below it.
        hint: what is read on pointing at it.
    """

    image: str
    mark: str = ""
    caption: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures of one tracklet, video or query, in their order."""

    title: str
    tiles: list[Tile]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One tracklet, identity or query.

    Attributes:
        title, note: above its pictures.
        strips: its pictures.
        verdict: a mark and its words: right or wrong by the truth, or what was done; None: neither.
    """

    title: str
    note: str = ""
    strips: list[Strip] = field(default_factory=list)
    verdict: tuple[str, str] | None = None


def picture(image: np.ndarray) -> str:
    """An image as a JPEG data URI of height HEIGHT.

    Args:
        image: RGB uint8 [H, W, 3].
    """
    height, width = image.shape[:2]
    scaled_width = round(width * HEIGHT / height)
    size = (int(np.clip(scaled_width, HEIGHT // 4, HEIGHT)), HEIGHT)
    method = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC
    small = cv2.resize(image, size, interpolation=method)
    small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def crop_reader(root: Path, table: pd.DataFrame) -> RowReader:
    """What reads pictures of the crops of a tables.Crops."""
    store = crops.CropStore(root / "tracklets/crops", table)
    return lambda row: picture(store.read(row))


def read_picture(path: str) -> str:
    """An image file as a data URI; an empty one where it is gone or broken.

    The images of a benchmark lie outside the project, so they may go.
    """
    try:
        return picture(read_image(path))
    except CionError:
        return ""


def show_retrieval(
    ranked: dict[str, pd.DataFrame],
    read: Callable[[str], str],
    limit: int = QUERIES,
) -> list[Row]:
    """Ranked lists of the same queries by several models, right and wrong as they were evaluated.

    Args:
        ranked: a tables.Ranked by the name of a model.
        read: gives a picture by its path.
        limit: at most so many queries, spread evenly.
    """
    queries_of = [table["query"].unique() for table in ranked.values()]
    common = set.intersection(*[set(queries) for queries in queries_of])
    queries = [query for query in queries_of[0] if query in common]
    rows = []
    for query in spread_evenly(queries, limit):
        name = Path(query).name
        strips = [Strip("query", [Tile(read(query), "query", "", name)])]
        for model, table in ranked.items():
            ranks = table[table["query"] == query].sort_values("rank")
            tiles = [_make_ranked_tile(rank, read) for rank in ranks.itertuples()]
            strips.append(Strip(model, tiles, f"{ranks.right.sum()} of {len(ranks)} right"))
        rows.append(Row(name, "", strips))
    return rows


def _make_ranked_tile(rank: Any, read: Callable[[str], str]) -> Tile:
    mark = "right" if rank.right else "wrong"
    hint = f"rank {rank.rank}: {Path(rank.gallery).name}"
    return Tile(read(rank.gallery), mark, f"{rank.distance:.2f}", hint)


def spread_evenly(items: Iterable, limit: int) -> list:
    """At most `limit` of `items`, evenly spaced, first and last among them."""
    items = list(items)
    if len(items) <= limit:
        return items
    places = np.linspace(0, len(items) - 1, limit).round().astype(int)
    return [items[place] for place in places]
