"""How much each crop counts in a centroid: as its table says, or by what its columns tell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core import quality
from cion_core.denoise.checks import BOXES


def weights_of(crops: pd.DataFrame, pairs: np.ndarray) -> np.ndarray | None:
    """How much each crop counts in a centroid.

    The extract stage tells it (column quality). For tables of a user's own that do not, it is found
    by the same rules from boxes, sharpness and confidence, as far as there are such.

    Args:
        crops: as `checks.checked` returns them, whole videos.
        pairs: int [P, 2], rows that show different people in one frame (`cannot_link.crop_pairs`).

    Returns:
        float32 [N] from `quality.LEAST` to 1; None if nothing is known: all count the same.
    """
    if "quality" in crops:
        told = crops.quality.fillna(1.0).to_numpy(np.float32)
        return np.clip(told, quality.LEAST, 1)
    return quality.product(shares_of(crops, pairs))


def shares_of(crops: pd.DataFrame, pairs: np.ndarray) -> dict[str, np.ndarray]:
    """What a table without quality tells of its crops (`cion_core.quality.shares_of`).

    Args:
        crops: as for `weights_of`.
        pairs: as for `weights_of`.
    """
    columns = {
        name: crops[name].to_numpy(np.float64)
        for name in ("sharpness", "confidence")
        if name in crops
    }
    video = pd.factorize(crops.video)[0]
    tracklets = crops.tracklet.to_numpy()
    if not set(BOXES) <= set(crops.columns):
        return quality.shares_of(video, tracklets, **columns)
    boxes = crops[list(BOXES)].to_numpy(np.float64)
    shown = quality.not_hidden(boxes, pairs)
    # The table does not tell how large the frame is: it is taken to end with the video's last
    # boxes. If it does not, they come to no harm, as long as they have the usual shape.
    low_right_corners = pd.DataFrame(boxes[:, 2:])
    largest = low_right_corners.groupby(video).transform("max")
    right, low = largest.to_numpy().T
    at_edge = quality.edges(boxes, right, low)
    return quality.shares_of(video, tracklets, boxes, shown, at_edge, **columns)
