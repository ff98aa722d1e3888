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
        scale: how many times as large as in the frame things are, along x and y.
        shift: how many pixels lie left of the frame and above it.
        frame: width and height of the frame.
    """

    image: np.ndarray
    scale: tuple[float, float]
    shift: tuple[int, int]
    frame: tuple[int, int]

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Bring boxes of the network's image back to the frame, cut off at its edges.

        Args:
            boxes: x1 y1 x2 y2 in pixels of `image`, float [n, 4].

        Returns:
            The same in pixels of the frame, float32 [n, 4].
        """
        # For x1 y1 x2 y2: what holds along x and y, twice.
        shift = np.tile(self.shift, 2)
        scale = np.tile(self.scale, 2)
        limit = np.tile(self.frame, 2)
        in_frame = (boxes - shift) / scale
        return in_frame.clip(0, limit).astype(np.float32)


def fit(frame: np.ndarray, size: tuple[int, int], how: str) -> Fitted:
    """Bring a frame to the network's size.

    A frame of 768 x 576 for a network of 640 x 640 becomes 640 x 480. `letterbox` puts grey bars
    of 80 pixels above and below it, `corner` one of 160 below, `rectangle` none (480 is a multiple
    of 32). `stretch` makes it 640 x 640.

    Args:
        frame: uint8 [H, W, 3].
        size: height and width, in pixels.
        how: letterbox, rectangle, corner or stretch.

    Returns:
        The frame at that size.
    """
    if how == "stretch":
        return _stretch(frame, size)
    frame_height, frame_width = frame.shape[:2]
    height, width = size
    scale = min(height / frame_height, width / frame_width)
    inner_width = max(1, round(frame_width * scale))
    inner_height = max(1, round(frame_height * scale))
    image = frame
    if (inner_width, inner_height) != (frame_width, frame_height):
        inner_size = (inner_width, inner_height)
        image = cv2.resize(frame, inner_size, interpolation=cv2.INTER_LINEAR)

    # How many pixels of bars there are along x and y, and how many of them to the left and above.
    spare_x = width - inner_width
    spare_y = height - inner_height
    if how == "rectangle":
        spare_x %= STRIDE
        spare_y %= STRIDE
    left, top = (0, 0) if how == "corner" else (_smaller_half(spare_x), _smaller_half(spare_y))
    right, bottom = spare_x - left, spare_y - top
    grey = (GREY, GREY, GREY)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
    return Fitted(image, (scale, scale), (left, top), (frame_width, frame_height))


def _stretch(frame: np.ndarray, size: tuple[int, int]) -> Fitted:
    frame_height, frame_width = frame.shape[:2]
    height, width = size
    image = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    scale = (width / frame_width, height / frame_height)
    return Fitted(image, scale, (0, 0), (frame_width, frame_height))


def _smaller_half(pixels: int) -> int:
    """Half of the bars, the smaller half where they are odd, as ultralytics does."""
    return round(pixels / 2 - 0.1)
