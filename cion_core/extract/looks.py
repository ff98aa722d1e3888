"""The frames of a video that are looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Look:
    """A frame that is looked at.

    Attributes:
        index: number of the frame in its video, from 0.
        time: seconds of the video's clock.
        image: BGR uint8 [H, W, 3].
        shot: number of its shot in the video, from 0.
    """

    index: int
    time: float
    image: np.ndarray
    shot: int = 0
