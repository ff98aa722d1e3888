"""How much a crop says of its person: hidden, cut off, tiny, blurred and doubtful crops count less
in a centroid.

What is not known counts in full. Each video is judged by itself, so that it weighs the same
whatever comes with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise.cannot_link import BLOCK
from cion_core.denoise.checks import BOXES

LEAST = 0.05  # no crop counts for nothing: its identity may have no better one
TOUCH = 1.0  # pixels from the frame's edge


def weights(crops: pd.DataFrame, pairs: np.ndarray) -> np.ndarray | None:
    """How much each crop counts in a centroid, float32 [N] from LEAST to 1; None if nothing is
    known: all the same.

    crops as `checks.checked` returns them, whole videos; pairs int [P, 2]: rows that show different
    people in one frame (`cannot_link.crop_pairs`). The product of what its columns tell: the share
    of the box that no other hides, of the person that the frame's edge leaves, of the video's usual
    height and sharpness, and the detector's confidence.
    """
    video, shares = pd.factorize(crops.video)[0], []
    if set(BOXES) <= set(crops.columns):
        boxes = crops[list(BOXES)].to_numpy(np.float64)
        shares += [shown(boxes, pairs), inside(boxes, video, crops.tracklet.to_numpy())]
        shares += [of_usual(boxes[:, 3] - boxes[:, 1], video)]
    if "sharpness" in crops:
        shares += [of_usual(crops.sharpness.to_numpy(np.float64), video)]
    if "confidence" in crops:
        shares += [sure(crops.confidence.to_numpy(np.float64), video)]
    if not shares:
        return None
    told = np.ones(len(crops))
    for share in shares:
        told *= np.nan_to_num(share, nan=1.0)
    return np.clip(told, LEAST, 1).astype(np.float32)


def shown(boxes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Share of each box [N, 4] that no other of `pairs` hides, float64 [N], 0 to 1.

    Of two that overlap, the one whose feet stand lower is nearer to the camera. What two of them
    hide counts twice.
    """
    hidden = np.zeros(len(boxes))
    for some in np.array_split(pairs, len(pairs) // BLOCK + 1):
        foot = boxes[some, 3]
        some = some[foot[:, 0] != foot[:, 1]]
        lower = boxes[some, 3].argmax(1)
        front, behind = some[np.arange(len(some)), lower], some[np.arange(len(some)), 1 - lower]
        low = np.maximum(boxes[behind, :2], boxes[front, :2])
        high = np.minimum(boxes[behind, 2:], boxes[front, 2:])
        hidden += np.bincount(behind, np.prod(np.maximum(high - low, 0), 1), len(boxes))
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    return 1 - np.minimum(hidden / np.maximum(area, 1e-9), 1)


def inside(boxes: np.ndarray, video: np.ndarray, tracklets: np.ndarray) -> np.ndarray:
    """Share of the person that the frame's edge leaves in each box [N, 4], float64 [N], 0 to 1;
    others int [N].

    A box at an edge that is narrower (left and right) or lower (top and bottom) than usual is cut
    by it. Its usual shape is the median of its tracklet's boxes, away from edges, or of its video's
    if there are none. The table does not tell how large the frame is: it is taken to end with the
    video's last boxes. If it does not, they come to no harm, as long as they have the usual shape.
    """
    x1, y1, x2, y2 = boxes.T
    right, low = pd.DataFrame(boxes[:, 2:]).groupby(video).transform("max").to_numpy().T
    beside = (x1 <= TOUCH) | (x2 >= right - TOUCH)
    upright = (y1 <= TOUCH) | (y2 >= low - TOUCH)
    shape = pd.Series((x2 - x1) / np.maximum(y2 - y1, 1e-9))
    whole = shape.mask(beside | upright)
    usual = whole.groupby(tracklets).transform("median").fillna(whole.groupby(video).transform("median"))
    left = np.minimum(np.where(beside, shape / usual, 1), 1)
    return left * np.minimum(np.where(upright, usual / shape, 1), 1)


def of_usual(values: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Share of the median of its video that each value is, at most 1, float64 [N]; NaN where there
    is none.
    """
    values = pd.Series(values)
    usual = values.groupby(video).transform("median")
    return (values / usual.where(usual > 0)).clip(0, 1).to_numpy()


def sure(confidence: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Confidences [N] as they are, float64 [N], but NaN in videos where some are not in 0..1: those
    have other scales.

    (Detectors of the MOT challenge give sums of support vectors, trackers often -1.)
    """
    strange = pd.Series((confidence < 0) | (confidence > 1)).groupby(video).transform("any")
    return np.where(strange, np.nan, confidence)
