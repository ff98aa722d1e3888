"""Faces that nobody has, drawn so that a face detector takes them for faces.

They have skin, hair, eyes, nose and mouth. A face is drawn large and then made small, as a camera
does. Its height is from chin to hairline.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = ((185, 210, 235), (120, 160, 205), (75, 105, 160), (45, 65, 105))  # BGR
HAIRS: tuple[Colour, ...] = ((30, 35, 45), (40, 70, 110), (90, 150, 190), (120, 125, 130))
CANVAS = 480  # pixels along each side of what is drawn
FACE = 216  # pixels that a drawn face is high
MIDDLE = CANVAS // 2
WHITE, BLACK, LIPS = (235, 235, 235), (12, 12, 12), (85, 85, 165)


@dataclass(frozen=True)
class Looks:
    """What somebody looks like: BGR colours, and how far the mouth is open.

    The opening is in pixels of a drawn face.
    """

    skin: Colour
    hair: Colour
    clothes: Colour
    mouth: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Looks:
        """Somebody by chance."""
        skin = SKINS[rng.integers(len(SKINS))]
        hair = HAIRS[rng.integers(len(HAIRS))]
        return cls(skin, hair, tuple(rng.uniform(20, 200, 3)), rng.uniform(6, 16))


class Pen:
    """Draws on a picture, by places relative to the middle of the face."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture

    def ellipse(self, x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        """Fill an ellipse of such half widths."""
        centre = (round(MIDDLE + x), round(MIDDLE + y))
        axes = (round(wide), round(tall))
        cv2.ellipse(self.picture, centre, axes, 0, 0, 360, plain(colour), -1, cv2.LINE_AA)

    def arc(
        self, x: float, y: float, wide: float, tall: float, colour: Colour, thickness: int
    ) -> None:
        """Draw the upper arc of an ellipse; a thickness of -1 fills its upper half."""
        centre = (round(MIDDLE + x), round(MIDDLE + y))
        axes = (round(wide), round(tall))
        cv2.ellipse(self.picture, centre, axes, 0, 180, 360, plain(colour), thickness, cv2.LINE_AA)


def plain(colour: Colour) -> tuple[float, ...]:
    """A colour as OpenCV takes it: of Python's own numbers."""
    return tuple(float(value) for value in colour)


def draw_face(looks: Looks, height: int) -> np.ndarray:
    """A head with its shoulders, transparent around it.

    Args:
        looks: what it looks like.
        height: pixels of the face.

    Returns:
        BGRA uint8 [side, side, 4] with the face in its middle.
    """
    picture = np.zeros((CANVAS, CANVAS, 4), np.float32)
    pen = Pen(picture[..., :3].copy())
    skin, hair = np.array(looks.skin), np.array(looks.hair)
    dark = tuple(0.8 * skin)

    # 1. Shoulders, neck, hair, ears, and the face with its light from one side.
    pen.ellipse(0, 260, 190, 130, looks.clothes)
    pen.ellipse(0, 120, 38, 60, dark)
    pen.ellipse(0, -25, 98, 120, tuple(hair))
    for side in (-1, 1):
        pen.ellipse(84 * side, 5, 12, 24, tuple(0.9 * skin))
    pen.ellipse(0, 5, 82, FACE / 2, tuple(skin))
    rows, columns = np.mgrid[:CANVAS, :CANVAS] - MIDDLE
    in_face = (columns / 82) ** 2 + ((rows - 5) / (FACE / 2)) ** 2 < 1
    light = 1.05 - 0.3 * ((columns - 20) / 90) ** 2
    pen.picture[in_face] *= light[in_face][:, None]
    pen.arc(0, -62, 84, 52, tuple(hair), -1)

    # 2. Eyes with their brows.
    for side in (-1, 1):
        x, y = 34 * side, -12
        pen.ellipse(x, y, 22, 14, dark)
        pen.ellipse(x, y + 1, 17, 9, WHITE)
        pen.ellipse(x, y + 1, 8, 9, (60, 50, 40))
        pen.ellipse(x, y + 1, 4, 4, BLACK)
        pen.arc(x, y + 2, 18, 10, (30, 30, 40), 3)
        pen.arc(x, y - 12, 24, 10, tuple(0.9 * hair), 6)

    # 3. Nose and mouth.
    pen.ellipse(-9, 15, 4, 20, dark)
    pen.ellipse(0, 34, 17, 10, tuple(0.88 * skin))
    for side in (-1, 1):
        pen.ellipse(8 * side, 38, 4, 3, tuple(0.45 * skin))
    pen.ellipse(0, 64, 28, looks.mouth, LIPS)
    pen.ellipse(0, 64, 22, looks.mouth / 3, (40, 40, 90))

    # 4. What was drawn on is opaque.
    drawn = (pen.picture > 0).any(axis=2)
    picture[..., :3] = cv2.GaussianBlur(pen.picture, (0, 0), 1.5)
    picture[..., 3] = 255 * drawn
    side = max(8, round(CANVAS * height / FACE))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return small.clip(0, 255).astype(np.uint8)


def put(picture: np.ndarray, face: np.ndarray, x: int, y: int) -> None:
    """Paint a drawn face into a picture (BGR uint8 [H, W, 3]), upper left corner at x, y."""
    side = len(face)
    part = picture[y : y + side, x : x + side]
    opaque = face[..., 3:].astype(np.float32) / 255
    part[:] = (opaque * face[..., :3] + (1 - opaque) * part).astype(np.uint8)


def box_of(x: int, y: int, height: int) -> np.ndarray:
    """The box of a face that was put at x, y: float32 [4], x1 y1 x2 y2 in pixels."""
    zoom = height / FACE
    sides = np.array([MIDDLE - 82, MIDDLE + 5 - FACE / 2, MIDDLE + 82, MIDDLE + 5 + FACE / 2])
    return (zoom * sides + [x, y, x, y]).astype(np.float32)
