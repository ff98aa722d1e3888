"""Frames brought to the size that a network takes, and boxes brought back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

GREY = 114  # of the bars, as YOLO is trained
STRIDE = 32  # pixels, of the coarsest grid of the networks that take rectangles


@dataclass(frozen=True)
class Fitted:
    """A frame at the network's size, and how it got there.

    Attributes:
        image: uint8 [height, width, 3], channels as in the frame.
        scale: How many times as large as in the frame things are, along x and y.
        shift: How many pixels lie left of the frame and above it.
        frame: Width and height of the frame.
    """

    image: np.ndarray
    scale: tuple[float, float]
    shift: tuple[int, int]
    frame: tuple[int, int]

    def back(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the network's image as boxes of the frame, cut off at its edges.

        Args:
            boxes: x1 y1 x2 y2 in pixels of `image`, float [n, 4].

        Returns:
            The same in pixels of the frame, float32 [n, 4].
        """
        moved = (boxes - np.tile(self.shift, 2)) / np.tile(self.scale, 2)
        return moved.clip(0, np.tile(self.frame, 2)).astype(np.float32)


def fit(frame: np.ndarray, size: tuple[int, int], how: str) -> Fitted:
    """Bring a frame to the network's size.

    A frame of 768 x 576 for a network of 640 x 640 becomes 640 x 480. `letterbox` puts grey bars
    of 80 pixels above and below it, `corner` one of 160 below, `rectangle` none (480 is a multiple
    of 32). `stretch` makes it 640 x 640.

    Args:
        frame: uint8 [H, W, 3].
        size: Height and width, in pixels.
        how: letterbox, rectangle, corner or stretch.
    """
    height, width = frame.shape[:2]
    tall, wide = size
    if how == "stretch":
        return _stretched(frame, size)
    ratio = min(tall / height, wide / width)
    inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    image = frame
    if inner != (width, height):
        image = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)

    # How many pixels of bars there are along x and y
    spare_x, spare_y = wide - inner[0], tall - inner[1]
    if how == "rectangle":
        spare_x, spare_y = spare_x % STRIDE, spare_y % STRIDE
    left, top = (0, 0) if how == "corner" else (_half(spare_x), _half(spare_y))
    image = cv2.copyMakeBorder(
        image, top, spare_y - top, left, spare_x - left, cv2.BORDER_CONSTANT, value=(GREY,) * 3
    )
    return Fitted(image, (ratio, ratio), (left, top), (width, height))


def _stretched(frame: np.ndarray, size: tuple[int, int]) -> Fitted:
    height, width = frame.shape[:2]
    tall, wide = size
    image = cv2.resize(frame, (wide, tall), interpolation=cv2.INTER_LINEAR)
    return Fitted(image, (wide / width, tall / height), (0, 0), (width, height))


def _half(pixels: int) -> int:
    """Half of the bars, the smaller half first where they are odd, as ultralytics does."""
    return round(pixels / 2 - 0.1)
