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
from cion_core.identify.people import Person, hue_of

# Pictures of a person in a video.
PICTURES = 4
# People on the page; the tables have all.
MOST = 300


@dataclass(frozen=True)
class Sighting:
    """A person in one video.

    Args:
        video: its name.
        begin: when the person is first seen there, as a clock shows it.
        end: when last.
        pictures: (JPEG as a data URI, its time as a clock shows it) of each.
    """

    video: str
    begin: str
    end: str
    pictures: list[tuple[str, str]]


def write(
    path: Path,
    crops: pd.DataFrame,
    identity: np.ndarray,
    people: list[Person],
    store: CropStore,
    model_note: str,
) -> None:
    """Write the page as one file that needs no other.

    Args:
        path: the file.
        crops: tables.Crops, N rows, whose pictures `store` has.
        identity: int64 [N], the number of the person on each crop; 0: nobody's.
        people: in the order of their numbers.
        store: the pictures.
        model_note: what the features' model is, and how far to trust it.
    """
    environment = templates.make_environment("cion_core.identify")
    shown = people[:MOST]
    rows_of = pd.Series(np.arange(len(crops))).groupby(identity).indices
    rated = crops.assign(row=np.arange(len(crops)), shows=_shares_shown(crops))
    articles = []
    for person in shown:
        seen = find_sightings(rated.iloc[rows_of[person.identity]], store)
        articles.append((person, round(360 * hue_of(person.identity)), seen))
    page = environment.get_template("page.html").render(
        people=articles,
        total=len(people),
        across=sum(person.videos > 1 for person in people),
        videos=crops.video.nunique(),
        crops=int((identity > 0).sum()),
        model_note=model_note,
    )
    path.write_text(page, encoding="utf-8")


def find_sightings(own: pd.DataFrame, store: CropStore) -> list[Sighting]:
    """Find where one person is seen, a video after the other, with the best pictures of each.

    Args:
        own: the person's crops, with row (in `store`) and shows (how much of the person is seen).
        store: the pictures.

    Returns:
        By the videos' names; pictures in their order in time.
    """
    sightings = []
    for video, there in own.groupby("video", sort=True):
        best = there.sort_values("shows", ascending=False, kind="stable").head(PICTURES)
        best = best.sort_values("time_s")
        pictures = [
            (_data_uri(store.jpeg(int(row))), clock(time))
            for row, time in zip(best.row, best.time_s, strict=True)
        ]
        begin, end = clock(there.time_s.min()), clock(there.time_s.max())
        sightings.append(Sighting(str(video), begin, end, pictures))
    return sightings


def _shares_shown(crops: pd.DataFrame) -> np.ndarray:
    """How much each crop shows of its person, float [N]."""
    shares = crop_weights.weights_of(crops, cannot_link.crop_pairs(crops))
    return np.ones(len(crops)) if shares is None else shares


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
