"""Where everybody is at any instant, from the crops that were kept of them; no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

BOX = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class PersonTrack:
    """One person's boxes in one tracklet.

    Attributes:
        person: the person's number, from 1.
        times: float64 [n], seconds, rising.
        boxes: float64 [n, 4], x1 y1 x2 y2 in pixels.
    """

    person: int
    times: np.ndarray
    boxes: np.ndarray

    def box_at(self, time: float, max_gap: float) -> np.ndarray | None:
        """Find the box at an instant, between the crops before and after it.

        Args:
            time: seconds.
            max_gap: seconds; between two crops that are farther apart there is no box.

        Returns:
            float64 [4], x1 y1 x2 y2 in pixels; None where the person is not seen.
        """
        after = int(np.searchsorted(self.times, time))
        if after < len(self.times) and self.times[after] == time:
            return self.boxes[after]
        if after in (0, len(self.times)):
            return None
        before_time, after_time = self.times[after - 1], self.times[after]
        if after_time - before_time > max_gap:
            return None
        share = (time - before_time) / (after_time - before_time)
        return (1 - share) * self.boxes[after - 1] + share * self.boxes[after]


def collect_tracks(crops: pd.DataFrame) -> list[PersonTrack]:
    """Collect the tracks of one video's crops.

    A tracklet whose crops belong to several people has a track for each of them.

    Args:
        crops: with tracklet, time_s, boxes and identity (the person's number).

    Returns:
        The tracks, ordered by tracklet and person.
    """
    by_time = crops.sort_values("time_s", kind="stable")
    tracks = []
    for (_, person), rows in by_time.groupby(["tracklet", "identity"]):
        times = rows["time_s"].to_numpy(np.float64)
        boxes = rows[BOX].to_numpy(np.float64)
        tracks.append(PersonTrack(int(person), times, boxes))
    return tracks
