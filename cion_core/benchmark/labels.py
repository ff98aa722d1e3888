"""Who is on an image and which camera saw it, as everything here understands it.

Whatever a layout's own numbers are, here person -1 is junk (a bad box, which no ranking counts), 0
a distractor (somebody in no query, always wrong) and 1 or more a person; cameras count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

JUNK, DISTRACTOR = -1, 0
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class Labels:
    """Who is on each image, and which camera saw them: int64 [n] each."""

    person: np.ndarray
    camera: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Labels:
        return Labels(self.person[rows], self.camera[rows])

    def __len__(self) -> int:
        return len(self.person)


def labels(images: pd.DataFrame) -> Labels:
    """Person and camera of the rows of a tables.Benchmark."""
    return Labels(images["person"].to_numpy(np.int64), images["camera"].to_numpy(np.int64))


def findable(query: Labels, gallery: Labels) -> np.ndarray:
    """Find the queries whose person is in the gallery under another camera; no model is asked.

    Args:
        query: labels of Q images.
        gallery: labels of G images.

    Returns:
        bool [Q].
    """
    cameras: dict[int, set[int]] = {}
    for person, camera in zip(gallery.person.tolist(), gallery.camera.tolist(), strict=True):
        if person > DISTRACTOR:
            cameras.setdefault(person, set()).add(camera)
    pairs = zip(query.person.tolist(), query.camera.tolist(), strict=True)
    return np.array(
        [bool(cameras.get(person, set()) - {camera}) for person, camera in pairs], dtype=bool
    )
