"""The page of people: everybody's best pictures of each video, and how sure their links are."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import templates
from cion_core.crops import CropStore
from cion_core.denoise import cannot_link, crop_weights
from cion_core.identify.people import Person, choose_hue

PICTURES = 4  # of a person in a video, at most
MOST_PEOPLE = 300  # on the page; the tables have all


@dataclass(frozen=True)
class VideoAppearance:
    """A person in one video.

    Attributes:
        video: its name.
        begin: when the person is first seen there, as a clock shows it.
        end: when the person is last seen there, likewise.
        pictures: (JPEG as a data URI, its time as a clock shows it) of each.
    """

    video: str
    begin: str
    end: str
    pictures: list[tuple[str, str]]


def write(
    path: Path,
    crops: pd.DataFrame,
    numbers: np.ndarray,
    people: list[Person],
    store: CropStore,
    model_note: str,
) -> None:
    """Write the page as one file that needs no other.

    Args:
        path: the file.
        crops: tables.Crops, N rows, whose pictures `store` has.
        numbers: int64 [N], the number of the person on each crop; 0: nobody's.
        people: in the order of their numbers.
        store: the pictures.
        model_note: what the features' model is, and how far to trust it.
    """
    environment = templates.make_environment("cion_core.identify")
    rows = np.arange(len(crops))
    rows_of_person = pd.Series(rows).groupby(numbers).indices
    rated = crops.assign(row=rows, quality=_rate_crops(crops))
    articles = []
    for person in people[:MOST_PEOPLE]:
        own = rated.iloc[rows_of_person[person.number]]
        hue_in_degrees = round(360 * choose_hue(person.number))
        articles.append((person, hue_in_degrees, find_appearances(own, store)))
    page = environment.get_template("page.html").render(
        people=articles,
        total=len(people),
        across=sum(person.videos > 1 for person in people),
        videos=crops.video.nunique(),
        crops=int((numbers > 0).sum()),
        model_note=model_note,
    )
    path.write_text(page, encoding="utf-8")


def find_appearances(own: pd.DataFrame, store: CropStore) -> list[VideoAppearance]:
    """Find the videos in which one person is seen, with the best pictures of each.

    Args:
        own: the person's crops, with row (in `store`) and quality.
        store: the pictures.

    Returns:
        Ordered by the videos' names; the pictures of each in their order in time.
    """
    appearances = []
    for video, there in own.groupby("video", sort=True):
        best = there.sort_values("quality", ascending=False, kind="stable").head(PICTURES)
        best = best.sort_values("time_s")
        pictures = [
            (_data_uri(store.jpeg(int(row))), clock(time))
            for row, time in zip(best.row, best.time_s, strict=True)
        ]
        begin = clock(there.time_s.min())
        end = clock(there.time_s.max())
        appearances.append(VideoAppearance(str(video), begin, end, pictures))
    return appearances


def _rate_crops(crops: pd.DataFrame) -> np.ndarray:
    """The quality of each crop, how much it shows of its person; float [N]."""
    rated = crop_weights.weights_of(crops, cannot_link.crop_pairs(crops))
    return np.ones(len(crops)) if rated is None else rated


def clock(seconds: float) -> str:
    """Tell seconds as a clock shows them: 3.4 is 0:03, 3725 is 1:02:05.

    Args:
        seconds: from the video's begin.
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
