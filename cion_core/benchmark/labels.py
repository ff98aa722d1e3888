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
    """Who is on each of n images, and which camera saw them.

    Attributes:
        person: int64 [n], numbered as above.
        camera: int64 [n], from 1.
    """

    person: np.ndarray
    camera: np.ndarray

    @classmethod
    def of(cls, images: pd.DataFrame) -> Labels:
        """Take person and camera from a table.

        Args:
            images: tables.Benchmark of n images.

        Returns:
            The labels of its rows, in their order.
        """
        person = images["person"].to_numpy(np.int64)
        camera = images["camera"].to_numpy(np.int64)
        return cls(person, camera)

    def __getitem__(self, rows: slice | np.ndarray) -> Labels:
        return Labels(self.person[rows], self.camera[rows])

    def __len__(self) -> int:
        return len(self.person)


def people_in(images: pd.DataFrame) -> set[int]:
    """List the people on images; junk and distractors are nobody.

    Args:
        images: tables.Benchmark.

    Returns:
        Their numbers.
    """
    is_person = images["person"] > DISTRACTOR
    return set(images["person"][is_person])


def findable(query: Labels, gallery: Labels) -> np.ndarray:
    """Find the queries whose person is in the gallery under another camera; no model is asked.

    Args:
        query: labels of Q images.
        gallery: labels of G images.

    Returns:
        bool [Q].
    """
    cameras_of = _cameras_of_people(gallery)
    found = np.zeros(len(query), dtype=bool)
    people_and_cameras = zip(query.person.tolist(), query.camera.tolist(), strict=True)
    for row, (person, camera) in enumerate(people_and_cameras):
        other_cameras = cameras_of.get(person, set()) - {camera}
        found[row] = bool(other_cameras)
    return found


def _cameras_of_people(gallery: Labels) -> dict[int, set[int]]:
    """The cameras that saw each person of a gallery; junk and distractors are nobody."""
    cameras_of: dict[int, set[int]] = {}
    for person, camera in zip(gallery.person.tolist(), gallery.camera.tolist(), strict=True):
        if person > DISTRACTOR:
            cameras_of.setdefault(person, set()).add(camera)
    return cameras_of
