"""How much a crop shows of its person: hidden, cut off, tiny, blurred and doubtful crops show less.

What is not known counts in full. Each video is judged by itself, so that its crops are worth the
same whatever comes with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

BLOCK = 1 << 20  # pairs that are worked on together
LEAST = 0.05  # no crop is worth nothing: its identity may have no better one
TOUCH = 1.0  # pixels from the frame's edge


def shares_of(
    video: np.ndarray,
    tracklets: np.ndarray,
    boxes: np.ndarray | None = None,
    shown: np.ndarray | None = None,
    at_edge: tuple[np.ndarray, np.ndarray] | None = None,
    sharpness: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What is known of how much each crop shows of its person.

    Shares of its box that no other hides, of the person that the frame's edge leaves, of its
    video's usual height and sharpness; and the detector's confidence.

    Args:
        video: int [N], the video or shot of each crop; whole videos.
        tracklets: [N].
        boxes: float64 [N, 4], x1 y1 x2 y2 in pixels.
        shown: float64 [N], as `not_hidden` tells it.
        at_edge: bool [N] twice, as `edges` tells it; needs boxes.
        sharpness: float64 [N].
        confidence: float64 [N].

    Returns:
        float64 [N] from 0 to 1, NaN where nothing is known, by what a crop of a small share is.
    """
    shares = {}
    if shown is not None:
        shares["hidden"] = shown
    if at_edge is not None:
        shares["cut off"] = not_cut_off(boxes, *at_edge, video, tracklets)
    if boxes is not None:
        shares["tiny"] = of_usual(boxes[:, 3] - boxes[:, 1], video)
    if sharpness is not None:
        shares["blurred"] = of_usual(sharpness, video)
    if confidence is not None:
        shares["doubtful"] = confidence_in_range(confidence, video)
    return shares


def product(shares: dict[str, np.ndarray]) -> np.ndarray | None:
    """The quality of each crop: what all that is known of it leaves.

    Args:
        shares: as `shares_of` gives them, float64 [N] each.

    Returns:
        float32 [N] from LEAST to 1; None if nothing is known of any.
    """
    if not shares:
        return None
    known = [np.nan_to_num(share, nan=1.0) for share in shares.values()]
    quality = np.prod(known, axis=0)
    return np.clip(quality, LEAST, 1).astype(np.float32)


def not_hidden(boxes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Share of each box [N, 4] that no other of `pairs` hides, float64 [N], 0 to 1.

    Of two that overlap, the one whose feet stand lower is nearer to the camera. What two of them
    hide counts twice.

    Args:
        boxes: float64 [N, 4], x1 y1 x2 y2 in pixels.
        pairs: int [P, 2]: rows that are seen in one frame.
    """
    hidden = np.zeros(len(boxes))
    for some in np.array_split(pairs, len(pairs) // BLOCK + 1):
        foot = boxes[some, 3]
        differ = foot[:, 0] != foot[:, 1]
        some, foot = some[differ], foot[differ]
        line = np.arange(len(some))
        lower = foot.argmax(1)
        front, behind = some[line, lower], some[line, 1 - lower]
        low = np.maximum(boxes[behind, :2], boxes[front, :2])
        high = np.minimum(boxes[behind, 2:], boxes[front, 2:])
        shared_area = np.prod(np.maximum(high - low, 0), 1)
        hidden += np.bincount(behind, shared_area, len(boxes))
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    hidden_share = hidden / np.maximum(area, 1e-9)
    return 1 - np.minimum(hidden_share, 1)


def edges(boxes: np.ndarray, right: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes touch the frame's edge.

    Args:
        boxes: float64 [N, 4], x1 y1 x2 y2 in pixels.
        right: where the frame ends, pixels; a number or [N].
        low: likewise, its last row.

    Returns:
        Which touch the left or right edge, and which the top or bottom; bool [N] twice.
    """
    x1, y1, x2, y2 = boxes.T
    at_side = (x1 <= TOUCH) | (x2 >= right - TOUCH)
    at_top_or_bottom = (y1 <= TOUCH) | (y2 >= low - TOUCH)
    return at_side, at_top_or_bottom


def not_cut_off(
    boxes: np.ndarray,
    at_side: np.ndarray,
    at_top_or_bottom: np.ndarray,
    video: np.ndarray,
    tracklets: np.ndarray,
) -> np.ndarray:
    """Share of the person that the frame's edge leaves in each box, float64 [N], 0 to 1.

    A box at an edge that is narrower (left and right) or lower (top and bottom) than usual is cut
    by it. Its usual shape is the median of its tracklet's boxes, away from edges, or of its video's
    if there are none. NaN where no box of the video lies away from edges.

    Example:
        Somebody's boxes are 40 x 100 pixels, and at the right edge one of 20 x 100: it is half as
        wide for its height as usual, so 0.5 of the person is left.

    Args:
        boxes: float64 [N, 4], x1 y1 x2 y2 in pixels.
        at_side: bool [N], which touch the left or right edge.
        at_top_or_bottom: bool [N], which touch the top or bottom edge.
        video: int [N].
        tracklets: [N].
    """
    x1, y1, x2, y2 = boxes.T
    width, height = x2 - x1, y2 - y1
    shape = pd.Series(width / np.maximum(height, 1e-9))
    whole = shape.mask(at_side | at_top_or_bottom)
    usual_of_video = whole.groupby(video).transform("median")
    usual_of_tracklet = whole.groupby(tracklets).transform("median")
    usual = usual_of_tracklet.fillna(usual_of_video)
    share_of_width = np.where(at_side, shape / usual, 1)
    share_of_height = np.where(at_top_or_bottom, usual / shape, 1)
    return np.minimum(share_of_width, 1) * np.minimum(share_of_height, 1)


def of_usual(values: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Share of the median of its video that each value is.

    Args:
        values: float64 [N], at least 0.
        video: int [N].

    Returns:
        float64 [N], at most 1; NaN where the median is 0.
    """
    values = pd.Series(values)
    usual = values.groupby(video).transform("median")
    share = values / usual.where(usual > 0)
    return share.clip(0, 1).to_numpy()


def confidence_in_range(confidence: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Confidences as they are, but NaN in videos where some are not in 0..1.

    Those have other scales: detectors of the MOT challenge give sums of support vectors, trackers
    often -1.

    Args:
        confidence: float64 [N].
        video: int [N].

    Returns:
        float64 [N].
    """
    out_of_range = pd.Series((confidence < 0) | (confidence > 1))
    of_strange_video = out_of_range.groupby(video).transform("any")
    return np.where(of_strange_video, np.nan, confidence)
