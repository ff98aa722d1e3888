"""What exported detectors put out, in one form: boxes, scores, and classes.

A layout is a function and a row of `LAYOUTS`. Each function takes the outputs for one image, the
detector's card, and height and width of the image that the network saw, as `decode` does. It gives
the same three arrays: boxes x1 y1 x2 y2 in pixels of that image (float [n, 4]), scores in 0..1
(float [n]), classes (int [n]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # `_card` asks this module for the names of layouts
    from cion_core.extract.detectors._card import DetectorCard

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
Outputs = Mapping[str, np.ndarray]
STRIDES = (8, 16, 32)  # pixels of a cell of YOLOX's three grids
EXPONENT = 20  # more would be a box of 10^10 pixels, and overflow in float16


def decode(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """Decode the detections of one image.

    Args:
        outputs: by what they hold (`OutputLayout.roles`), without the axis of the batch.
        card: the detector's.
        size: height and width of the image that the network saw.

    Returns:
        Boxes, scores and classes.
    """
    return LAYOUTS[card.layout].decode(outputs, card, size)


def decode_yolo(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """YOLOv8, 9, 11, 12: a column cx cy w h and a score of each class for each anchor.

    Some exports have rows in place of columns. There are always more anchors than classes.
    """
    table = outputs["rows"]
    has_columns = table.shape[0] < table.shape[1]
    rows = table.T if has_columns else table
    boxes = _to_corners(rows[:, :4])
    scores = rows[:, 4:]
    return _choose_class(boxes, scores)


def decode_yolo_objectness(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """YOLOv5, v7, and YOLOX with its decoder: rows cx cy w h, objectness, a score of each class."""
    rows = outputs["rows"]
    boxes = _to_corners(rows[:, :4])
    return _choose_class(boxes, _score_with_objectness(rows))


def decode_yolox(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """YOLOX as it is exported: rows as above, whose boxes are offsets in a cell of a grid.

    The centre is counted in cells from the cell's corner, and the size is the logarithm of cells.
    In a cell of 8 pixels at column 3, row 1 the row 0.5 0.25 0 0 is a box of 8 x 8 pixels around
    x = (3 + 0.5) * 8 = 28, y = (1 + 0.25) * 8 = 10.
    """
    rows = outputs["rows"]
    corners, cells = _lay_grids(size)
    centres = (rows[:, :2] + corners) * cells
    sizes = np.exp(rows[:, 2:4].clip(max=EXPONENT)) * cells
    boxes = _to_corners(np.concatenate([centres, sizes], axis=1))
    return _choose_class(boxes, _score_with_objectness(rows))


def decode_rows(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """YOLOv10, YOLO26, and exports that include NMS: rows x1 y1 x2 y2 score class."""
    rows = outputs["rows"]
    boxes = rows[:, :4]
    scores = rows[:, 4]
    classes = rows[:, 5].round().astype(int)
    return boxes, scores, classes


def decode_detr(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """DETR, RF-DETR and their like: boxes cx cy w h in fractions of the image, and logits.

    A query counts as a person by its score for people alone. Whether it is more likely something
    else is not asked, since their own decoders do not ask either.
    """
    height, width = size
    boxes = _to_corners(outputs["boxes"]) * np.array([width, height, width, height])
    logits = outputs["logits"].astype(np.float64)
    # With softmax the last class is "nothing".
    scores = _sigmoid(logits) if card.scores == "sigmoid" else _softmax(logits)[:, :-1]
    scores_of_people = scores[:, card.persons]
    best = scores_of_people.argmax(axis=1)
    return boxes, scores_of_people.max(axis=1), np.array(card.persons)[best]


def decode_labelled(outputs: Outputs, card: DetectorCard, size: tuple[int, int]) -> Found:
    """RT-DETR, D-FINE, DEIM: boxes x1 y1 x2 y2 in pixels of the size asked for, scores, labels."""
    return outputs["boxes"], outputs["scores"], outputs["labels"].astype(int)


@dataclass(frozen=True)
class OutputLayout:
    """What the outputs of a detector hold, and how they are read.

    Attributes:
        decode: reads them.
        roles: what each output holds, in the order of the network's.
        repeats: whether a person is found several times, so that non-maximum suppression is needed.
    """

    decode: Callable[[Outputs, DetectorCard, tuple[int, int]], Found]
    roles: tuple[str, ...] = ("rows",)
    repeats: bool = False


LAYOUTS = {
    "yolo": OutputLayout(decode_yolo, repeats=True),
    "yolo-objectness": OutputLayout(decode_yolo_objectness, repeats=True),
    "yolox": OutputLayout(decode_yolox, repeats=True),
    "rows": OutputLayout(decode_rows),
    "detr": OutputLayout(decode_detr, ("boxes", "logits")),
    "labelled": OutputLayout(decode_labelled, ("labels", "boxes", "scores")),
}


def _choose_class(boxes: np.ndarray, scores: np.ndarray) -> Found:
    """The most likely class of each box, by the scores of all, float [n, classes]."""
    return boxes, scores.max(axis=1), scores.argmax(axis=1)


def _score_with_objectness(rows: np.ndarray) -> np.ndarray:
    """Scores of classes in rows cx cy w h, objectness, scores."""
    objectness = rows[:, 4:5]
    return rows[:, 5:] * objectness


def _to_corners(boxes: np.ndarray) -> np.ndarray:
    """cx cy w h as x1 y1 x2 y2."""
    centres = boxes[:, :2]
    halves = boxes[:, 2:4] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _lay_grids(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of each cell of YOLOX's grids [n, 2], and how many pixels it has [n, 1]."""
    height, width = size
    corners, cells = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = np.mgrid[:rows, :columns]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        cells.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners), np.concatenate(cells)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # By the hyperbolic tangent, which does not overflow.
    return 0.5 * (1 + np.tanh(logits / 2))


def _softmax(logits: np.ndarray) -> np.ndarray:
    highest = logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits - highest)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
