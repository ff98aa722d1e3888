"""The page of people: everybody's best pictures of each video, and how sure their links are."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import templates
from cion_core.crops import CropStore
from cion_core.denoise import cannot_link, quality
from cion_core.identify.people import Person, hue_of

# Pictures of a person in a video.
PICTURES = 4
# People on the page; the tables have all.
MOST = 300


@dataclass(frozen=True)
class Sight:
    """A person in one video: its name, from when to when, and pictures as data URIs with their
    times.
    """

    video: str
    begin: str
    end: str
    pictures: list[tuple[str, str]]


def write(
    path: Path,
    crops: pd.DataFrame,
    number: np.ndarray,
    people: list[Person],
    store: CropStore,
    worth: str,
) -> None:
    """Write the page as one file that needs no other.

    Args:
        path: the file.
        crops: tables.Crops, N rows, whose pictures `store` has.
        number: int64 [N], the person on each crop; 0: nobody's.
        people: in the order of their numbers.
        store: the pictures.
        worth: one sentence on what the model is worth.
    """
    environment = templates.make_environment("cion_core.identify")
    shown = people[:MOST]
    rows_of = pd.Series(np.arange(len(crops))).groupby(number).indices
    weights = _weights(crops)
    page = environment.get_template("page.html").render(
        people=[
            (
                person,
                round(360 * hue_of(person.number)),
                sights(crops, rows_of[person.number], weights, store),
            )
            for person in shown
        ],
        total=len(people),
        across=sum(person.videos > 1 for person in people),
        videos=crops.video.nunique(),
        crops=int((number > 0).sum()),
        worth=worth,
    )
    path.write_text(page, encoding="utf-8")


def sights(
    crops: pd.DataFrame, rows: np.ndarray, weights: np.ndarray, store: CropStore
) -> list[Sight]:
    """One person's sights, a video after the other; of each the best pictures, in their order in
    time.
    """
    found = []
    own = crops.iloc[rows].assign(row=rows, weight=weights[rows])
    for video, there in own.groupby("video", sort=True):
        best = there.sort_values("weight", ascending=False, kind="stable").head(PICTURES)
        pictures = [
            (_data_uri(store.jpeg(int(row))), clock(time))
            for row, time in best.sort_values("time_s")[["row", "time_s"]].itertuples(index=False)
        ]
        found.append(
            Sight(str(video), clock(there.time_s.min()), clock(there.time_s.max()), pictures)
        )
    return found


def _weights(crops: pd.DataFrame) -> np.ndarray:
    """How much each crop shows of its person, float [N]."""
    weights = quality.weights(crops, cannot_link.crop_pairs(crops))
    return np.ones(len(crops)) if weights is None else weights


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours if there are any: 3.4 is 0:03, 3725 is 1:02:05."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
