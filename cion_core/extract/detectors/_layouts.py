"""What exported detectors put out, in one form: boxes, scores, and classes.

Each function takes the outputs for one image, the detector's card, and height and width of the
image that the network saw, as `decode` does. It gives the same three arrays: boxes x1 y1 x2 y2 in
pixels of that image (float [n, 4]), scores in 0..1 (float [n]), classes (int [n]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cion_core.extract.detectors._card import Card

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
Outputs = Mapping[str, np.ndarray]
STRIDES = (8, 16, 32)  # pixels of a cell of YOLOX's three grids
EXPONENT = 20  # more would be a box of 10^10 pixels, and overflow in float16


def decode(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """The detections of one image.

    Args:
        outputs: By what they hold (`ROLES`), without the axis of the batch.
        card: The detector's.
        size: Height and width of the image that the network saw.
    """
    return DECODERS[card.layout](outputs, card, size)


def yolo(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """YOLOv8, 9, 11, 12: a column cx cy w h and a score of each class for each anchor.

    Some exports have rows in place of columns. There are always more anchors than classes.
    """
    columns = outputs["rows"]
    rows = columns.T if columns.shape[0] < columns.shape[1] else columns
    return _best_class(_corners(rows[:, :4]), rows[:, 4:])


def yolo_objectness(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """YOLOv5, v7, and YOLOX with its decoder: rows cx cy w h, objectness, a score of each class."""
    rows = outputs["rows"]
    return _best_class(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5])


def yolox(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """YOLOX as it is exported: rows as above, whose boxes are offsets in a cell of a grid.

    The centre is counted in cells from the cell's corner, and the size is the logarithm of cells.
    In a cell of 8 pixels at column 3, row 1 the row 0.5 0.25 0 0 is a box of 8 x 8 pixels around
    x = (3 + 0.5) * 8 = 28, y = (1 + 0.25) * 8 = 10.
    """
    rows = outputs["rows"]
    corners, cells = _grid(size)
    centres = (rows[:, :2] + corners) * cells
    sizes = np.exp(rows[:, 2:4].clip(max=EXPONENT)) * cells
    boxes = _corners(np.concatenate([centres, sizes], axis=1))
    return _best_class(boxes, rows[:, 5:] * rows[:, 4:5])


def rows(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """YOLOv10, YOLO26, and exports that include NMS: rows x1 y1 x2 y2 score class."""
    table = outputs["rows"]
    return table[:, :4], table[:, 4], table[:, 5].round().astype(int)


def detr(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """DETR, RF-DETR and their like: boxes cx cy w h in fractions of the image, and logits.

    A query is a person as far as it is one; whether it is more likely something else is not asked,
    as their own decoders do not.
    """
    height, width = size
    boxes = _corners(outputs["boxes"]) * np.array([width, height, width, height])
    logits = outputs["logits"].astype(np.float64)
    likely = _sigmoid(logits) if card.scores == "sigmoid" else _softmax(logits)[:, :-1]
    people = likely[:, card.persons]
    best = people.argmax(axis=1)
    return boxes, people.max(axis=1), np.array(card.persons)[best]


def labelled(outputs: Outputs, card: Card, size: tuple[int, int]) -> Found:
    """RT-DETR, D-FINE, DEIM: boxes x1 y1 x2 y2 in pixels of the size asked for, scores, labels."""
    return outputs["boxes"], outputs["scores"], outputs["labels"].astype(int)


DECODERS: dict[str, Callable[[Outputs, Card, tuple[int, int]], Found]] = {
    "yolo": yolo,
    "yolo-objectness": yolo_objectness,
    "yolox": yolox,
    "rows": rows,
    "detr": detr,
    "labelled": labelled,
}
# What the outputs of each layout hold
ROLES: dict[str, tuple[str, ...]] = {
    "yolo": ("rows",),
    "yolo-objectness": ("rows",),
    "yolox": ("rows",),
    "rows": ("rows",),
    "detr": ("boxes", "logits"),
    "labelled": ("labels", "boxes", "scores"),
}
SUPPRESSED = ("yolo", "yolo-objectness", "yolox")  # these find a person several times


def _best_class(boxes: np.ndarray, scores: np.ndarray) -> Found:
    return boxes, scores.max(axis=1), scores.argmax(axis=1)


def _corners(boxes: np.ndarray) -> np.ndarray:
    """cx cy w h as x1 y1 x2 y2."""
    centres, halves = boxes[:, :2], boxes[:, 2:4] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of each cell of YOLOX's grids [n, 2], and how many pixels it has [n, 1]."""
    corners, cells = [], []
    for stride in STRIDES:
        tall, wide = size[0] // stride, size[1] // stride
        y, x = np.mgrid[:tall, :wide]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        cells.append(np.full((tall * wide, 1), stride))
    return np.concatenate(corners), np.concatenate(cells)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(logits / 2))  # does not overflow


def _softmax(logits: np.ndarray) -> np.ndarray:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)
