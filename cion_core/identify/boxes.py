"""Where everybody is at any instant, from the crops that were kept of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

BOX = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Track:
    """One tracklet.

    Args:
        identity: the person's number.
        times: float64 [n], seconds, rising.
        boxes: float64 [n, 4], x1 y1 x2 y2 in pixels.
    """

    identity: int
    times: np.ndarray
    boxes: np.ndarray

    def box_at(self, time: float, gap: float) -> np.ndarray | None:
        """Find the box at an instant, between the crops before and after it.

        Args:
            time: seconds.
            gap: two crops that are farther apart, in seconds, have nothing between them.

        Returns:
            float64 [4], x1 y1 x2 y2 in pixels; None where the person is not seen.
        """
        after = int(np.searchsorted(self.times, time))
        if after < len(self.times) and self.times[after] == time:
            return self.boxes[after]
        if after in (0, len(self.times)):
            return None
        before_time, after_time = self.times[after - 1], self.times[after]
        if after_time - before_time > gap:
            return None
        share = (time - before_time) / (after_time - before_time)
        return (1 - share) * self.boxes[after - 1] + share * self.boxes[after]


def tracks_of(crops: pd.DataFrame) -> list[Track]:
    """Collect the tracklets of one video's crops.

    A tracklet whose crops belong to several people is as many tracks.

    Args:
        crops: with tracklet, time_s, boxes and identity.
    """
    crops = crops.sort_values("time_s", kind="stable")
    tracks = []
    for (_, identity), rows in crops.groupby(["tracklet", "identity"]):
        times, boxes = rows.time_s.to_numpy(np.float64), rows[BOX].to_numpy(np.float64)
        tracks.append(Track(int(identity), times, boxes))
    return tracks
