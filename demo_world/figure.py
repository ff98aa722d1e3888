"""Draws a person: a jointed figure of tapered solids, seen from any side at any phase of the walk.

Lengths are fractions of the body height, on the person's own axes: x to the person's right, y up
from the ground, z ahead. A yaw of 0 faces the camera, 90 degrees walks to the right of the picture.
Every surface is painted by its azimuth around the solid (0 ahead, positive to the person's right),
so that what is on the chest is not seen from behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from demo_world.people import Person

BODY = 168  # pixels of a body height in a finished sprite
SIZE = (192, 136)  # height, width of a finished sprite
GROUND = 182  # row of the soles
SMOOTH = 2  # drawn this many times larger, then averaged
YAWS = 16  # directions and
PHASES = 8  # walk phases that are told apart

Point = tuple[float, float, float]
# Takes azimuth and height (0..1) along the solid, gives RGB.
Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Canvas:
    """A picture under construction, and the projection of the person's axes onto it."""

    def __init__(self, yaw: float):
        self.rgba = np.zeros((SIZE[0] * SMOOTH, SIZE[1] * SMOOTH, 4), np.float32)
        self.sin, self.cos = np.sin(yaw), np.cos(yaw)

    def pixel(self, point: Point) -> np.ndarray:
        x, y, z = point
        across = z * self.sin - x * self.cos
        scale = BODY * SMOOTH
        return np.array(
            [SIZE[1] * SMOOTH / 2 + across * scale, GROUND * SMOOTH - y * scale], np.float32
        )

    def nearness(self, point: Point) -> float:
        return point[2] * self.cos + point[0] * self.sin

    def solid(
        self, low: Point, high: Point, widths: Sequence[float], paint: Paint | tuple, depth: float = 1.0,
        round_low: bool = False, round_high: bool = False,
    ) -> None:  # fmt: skip
        """Paint a solid from `low` to `high`.

        `widths` are its half widths, evenly spaced between the two. Its cross-section is an
        ellipse, `depth` times as deep as wide; ends may be rounded.
        """
        scale = BODY * SMOOTH
        flat = np.hypot(self.cos, depth * self.sin)
        front = np.arctan2(depth * self.sin, self.cos)
        radii = np.asarray(widths, np.float32) * flat * scale
        a, b = self.pixel(low), self.pixel(high)
        length = max(float(np.hypot(*(b - a))), 1e-3)
        along, reach = (b - a) / length, radii.max() + 1
        x1, y1 = np.maximum(np.floor(np.minimum(a, b) - reach), 0).astype(int)
        x2, y2 = np.ceil(np.maximum(a, b) + reach).astype(int) + 1
        patch = self.rgba[y1:y2, x1:x2]
        dx = np.arange(x1, x1 + patch.shape[1], dtype=np.float32) - a[0]
        dy = np.arange(y1, y1 + patch.shape[0], dtype=np.float32)[:, None] - a[1]
        s = dx * along[0] + dy * along[1]
        across = dy * along[0] - dx * along[1]  # positive to the right when the solid points up
        radius = np.interp(s, np.linspace(0, length, len(radii)), radii, left=0, right=0).astype(
            np.float32
        )
        if round_low:
            radius = np.where(s < 0, np.sqrt(np.maximum(radii[0] ** 2 - s * s, 0)), radius)
        if round_high:
            radius = np.where(
                s > length, np.sqrt(np.maximum(radii[-1] ** 2 - (s - length) ** 2, 0)), radius
            )
        inside = np.abs(across) < radius
        u = across[inside] / radius[inside]
        if callable(paint):
            azimuth = (front - np.arcsin(u) + np.pi) % (2 * np.pi) - np.pi
            colour = paint(azimuth, np.clip(s[inside] / length, 0, 1))
        else:
            colour = np.float32([paint])
        light = 0.72 + 0.28 * np.sqrt(1 - u * u) - 0.05 * u
        patch[inside] = np.column_stack([colour * light[:, None], np.full(len(u), 255, np.float32)])

    def finish(self) -> np.ndarray:
        """RGBA uint8 [*SIZE, 4], alpha not multiplied in.

        The half-transparent part is the shadow on the ground.
        """
        small = cv2.resize(self.rgba, SIZE[::-1], interpolation=cv2.INTER_AREA)
        alpha = small[..., 3] + (255 - small[..., 3]) * _SHADOW
        rgb = small[..., :3] * (255 / np.maximum(alpha, 1))[..., None]
        return np.dstack([rgb, alpha]).clip(0, 255).astype(np.uint8)


def _shadow() -> np.ndarray:
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    far = np.hypot((columns - SIZE[1] / 2) / (0.16 * BODY), (rows - GROUND) / (0.035 * BODY))
    return (0.4 * np.clip(1.2 - far, 0, 1)).astype(np.float32)


_SHADOW = _shadow()  # opacity


def draw(person: Person, yaw: int, phase: int) -> np.ndarray:
    """The sprite of a person at one of YAWS directions and one of PHASES of the walk.

    RGBA uint8 [*SIZE, 4].
    """
    turn = 2 * np.pi * yaw / YAWS
    swing = 2 * np.pi * phase / PHASES
    canvas = Canvas(turn)
    bob = 0.008 * np.cos(2 * swing)
    # Ordered by how near they are; the small numbers decide where parts touch.
    parts = [(0.0, partial(_torso, person, bob)), (0.01, partial(_head, person, bob))]
    for side in (-1, 1):
        shoulder = (0.125 * person.build * side, 0, 0)
        parts.append((canvas.nearness(shoulder) * 0.9, partial(_arm, person, side, swing, bob)))
    parts += [(canvas.nearness(at), part) for at, part in _extras(person, swing, bob)]
    # The legs stand between what hangs on the far side and on the near side.
    parts.append((-0.08, partial(_legs, person, swing, bob)))
    for _, part in sorted(parts, key=lambda item: item[0]):
        part(canvas)
    return canvas.finish()


def _legs(person: Person, swing: float, bob: float, canvas: Canvas) -> None:
    for side in sorted((-1, 1), key=lambda side: canvas.nearness((side, 0, 0))):
        for part in _leg(person, side, swing + (np.pi if side < 0 else 0), bob):
            part(canvas)
    _hips(person, canvas, bob)


def _leg(person: Person, side: int, swing: float, bob: float) -> list[Callable[[Canvas], None]]:
    x = 0.048 * side * person.build
    thigh = np.radians(25) * np.sin(swing)
    knee_bend = np.radians(6 + 38 * max(0.0, np.cos(swing)) * (1 if np.sin(swing) < 0.9 else 0.5))
    hip = (x, 0.5 + bob, 0.0)
    knee = (x, hip[1] - 0.235 * np.cos(thigh), 0.235 * np.sin(thigh))
    shin = thigh - knee_bend
    ankle = (x, max(knee[1] - 0.23 * np.cos(shin), 0.035), knee[2] + 0.23 * np.sin(shin))
    toe = (x + 0.012 * side, max(ankle[1] - 0.022 - 0.03 * (shin < -0.5), 0.012), ankle[2] + 0.075)
    wide = 0.5 + 0.5 * person.build
    trousers = person.bottom == "trousers"
    cloth = partial(_trouser, person, side)
    upper = person.skin if person.bottom == "skirt" else cloth
    loose = 1.12 if trousers else 1.0

    def foot(canvas: Canvas) -> None:
        canvas.solid(
            (ankle[0], ankle[1] - 0.01, ankle[2] - 0.012),
            toe,
            [0.026, 0.022],
            person.shoes,
            1,
            True,
            True,
        )

    def lower(canvas: Canvas) -> None:
        radii = [
            r * wide * loose for r in ((0.029, 0.033, 0.037) if trousers else (0.021, 0.033, 0.033))
        ]
        canvas.solid(ankle, knee, radii, cloth if trousers else person.skin, 1, False, True)

    def thighs(canvas: Canvas) -> None:
        radii = [
            r * wide
            for r in (
                (0.036 * loose, 0.046, 0.052)
                if person.bottom != "shorts"
                else (0.047, 0.051, 0.054)
            )
        ]
        canvas.solid(knee, hip, radii, upper, 1, person.bottom != "shorts", True)

    return [foot, lower, thighs]


def _trouser(person: Person, side: int, azimuth: np.ndarray, height: np.ndarray) -> np.ndarray:
    colour = np.broadcast_to(np.float32(person.bottom_colour), (*azimuth.shape, 3)).copy()
    if person.side_stripe:
        colour[np.abs(azimuth - side * np.pi / 2) < 0.5] = person.top_colours[1]
    return colour


def _hips(person: Person, canvas: Canvas, bob: float) -> None:
    width = 0.092 * (0.4 + 0.6 * person.build)
    if person.bottom == "skirt":
        canvas.solid(
            (0, 0.29, 0),
            (0, 0.6 + bob, 0),
            [width * 1.45, width * 1.15, width * 0.95],
            person.bottom_colour,
            0.8,
        )
    else:
        canvas.solid(
            (0, 0.46 + bob, 0),
            (0, 0.6 + bob, 0),
            [width * 0.9, width, width * 0.95],
            person.bottom_colour,
            0.72,
        )


def _torso(person: Person, bob: float, canvas: Canvas) -> None:
    b = 0.4 + 0.6 * person.build
    widths = np.array([0.096, 0.094, 0.096, 0.106, 0.118, 0.12, 0.108, 0.052]) * b
    canvas.solid((0, 0.84 + bob, 0), (0, 0.885 + bob, 0), [0.034, 0.03], person.skin)
    canvas.solid((0, 0.525 + bob, 0), (0, 0.855 + bob, 0), widths, partial(_top, person), 0.66)


def _top(person: Person, azimuth: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The pattern of the upper garment, and the straps of what is carried over it."""
    first, second = (np.float32(colour) for colour in person.top_colours)
    ahead = np.abs(azimuth)
    marks = {
        "plain": lambda: np.zeros(azimuth.shape, bool),
        "hoops": lambda: (height * 7) % 2 >= 1,
        "pinstripes": lambda: (azimuth / (2 * np.pi) * 12) % 1 < 0.35,
        "check": lambda: ((height * 6) % 2 < 1) ^ ((azimuth / (2 * np.pi) * 10) % 2 < 1),
        "two_tone": lambda: height > 0.55,
        "band": lambda: (height > 0.42) & (height < 0.66),
        "logo": lambda: (ahead / 0.62) ** 2 + ((height - 0.66) / 0.15) ** 2 < 1,
        "open": lambda: ahead < 0.2 + 0.45 * height,
    }
    colour = np.where(marks[person.top]()[:, None], second, first)
    if person.bag == "backpack":
        colour[(np.abs(ahead - 0.75) < 0.16) & (height > 0.35)] = person.bag_colour
    if person.bag == "satchel":
        slant = np.where(ahead < np.pi / 2, azimuth, np.sign(azimuth) * np.pi - azimuth)
        colour[np.abs(height - 0.55 + 0.3 * slant) < 0.06] = person.bag_colour
    return colour


def _arm(person: Person, side: int, swing: float, bob: float, canvas: Canvas) -> None:
    b = 0.4 + 0.6 * person.build
    angle = np.radians(24) * np.sin(swing if side < 0 else swing + np.pi)
    shoulder = (0.114 * side * b, 0.806 + bob, 0.0)
    elbow = (0.14 * side * b, shoulder[1] - 0.165 * np.cos(angle), 0.165 * np.sin(angle))
    fore = angle + np.radians(18)
    wrist = (0.142 * side * b, elbow[1] - 0.14 * np.cos(fore), elbow[2] + 0.14 * np.sin(fore))
    sleeve = (
        person.top_colours[1]
        if person.second_sleeves or person.top == "two_tone"
        else person.top_colours[0]
    )
    wide = 0.5 + 0.5 * person.build
    fist = (wrist[0], wrist[1] - 0.022, wrist[2] + 0.006)
    canvas.solid(fist, wrist, [0.02, 0.016], person.skin, 1, True, True)
    canvas.solid(
        wrist,
        elbow,
        [0.019 * wide, 0.026 * wide],
        sleeve if person.long_sleeves else person.skin,
        1,
        False,
        True,
    )
    canvas.solid(elbow, shoulder, [0.029 * wide, 0.034 * wide], person.skin, 1, True, True)
    middle = tuple(0.35 * e + 0.65 * s for e, s in zip(elbow, shoulder, strict=True))
    end = elbow if person.long_sleeves else middle
    canvas.solid(end, shoulder, [0.031 * wide, 0.037 * wide], sleeve, 1, person.long_sleeves, True)


def _head(person: Person, bob: float, canvas: Canvas) -> None:
    low, high = 0.868 + bob, 0.995 + bob
    skull = [0.022, 0.042, 0.05, 0.053, 0.054, 0.052, 0.042, 0.012]
    canvas.solid((0, low, 0), (0, high, 0.0), skull, partial(_face, person), 1.12)
    hair = person.hair_colour
    behind = canvas.cos < 0.25
    if person.hair == "long" and behind:
        canvas.solid(
            (0, 0.79 + bob, -0.025), (0, 0.95 + bob, -0.012), [0.05, 0.056, 0.056, 0.054], hair, 0.7
        )
    if person.hat == "beanie":
        canvas.solid(
            (0, 0.945 + bob, 0),
            (0, 1.012 + bob, 0),
            [0.058, 0.058, 0.05, 0.022],
            person.hat_colour,
            1.1,
        )
    elif person.hat == "cap":
        canvas.solid(
            (0, 0.955 + bob, 0.05),
            (0, 0.963 + bob, 0.105),
            [0.04, 0.03],
            person.hat_colour,
            1,
            False,
            True,
        )
        canvas.solid(
            (0, 0.953 + bob, 0),
            (0, 1.006 + bob, 0),
            [0.057, 0.055, 0.044, 0.018],
            person.hat_colour,
            1.1,
        )


def _face(person: Person, azimuth: np.ndarray, height: np.ndarray) -> np.ndarray:
    skin, ahead = np.float32(person.skin), np.abs(azimuth)
    colour = np.broadcast_to(skin, (*azimuth.shape, 3)).copy()
    if person.hair == "bald":
        grown = (ahead > 1.6) & (height > 0.3) & (height < 0.55)
    else:
        sides = 1.0 if person.hair == "long" else 1.35
        grown = ((ahead > sides) & (height > (0.05 if person.hair == "long" else 0.3))) | (
            height > 0.78 - 0.1 * ahead
        )
    colour[grown] = person.hair_colour
    colour[(np.abs(ahead - 0.42) < 0.14) & (np.abs(height - 0.55) < 0.045)] = (28, 24, 24)
    colour[(ahead < 0.3) & (np.abs(height - 0.22) < 0.03)] = skin * 0.65
    return colour


def _extras(
    person: Person, swing: float, bob: float
) -> list[tuple[Point, Callable[[Canvas], None]]]:
    """What hangs on a person, each with the place that says what it hides and what hides it."""
    b = 0.4 + 0.6 * person.build
    found: list[tuple[Point, Callable[[Canvas], None]]] = []

    def hang(at: Point, *solid: object) -> None:
        found.append((at, lambda canvas: canvas.solid(*solid)))

    if person.hair == "bun":
        low, high = (0, 0.95 + bob, -0.062), (0, 0.955 + bob, -0.066)
        hang((0, 0, -0.1), low, high, [0.026, 0.026], person.hair_colour, 1, True, True)
    if person.hair == "long":
        low, high = (0, 0.8 + bob, -0.02), (0, 0.94 + bob, -0.01)
        hang((0, 0, -0.02), low, high, [0.058, 0.064, 0.06], person.hair_colour, 0.7)
    if person.bag == "backpack":
        low, high = (0, 0.585 + bob, -0.115 * b), (0, 0.825 + bob, -0.105 * b)
        hang(
            (0, 0, -0.3),
            low,
            high,
            [0.078, 0.085, 0.083, 0.078, 0.055],
            partial(_pack, person),
            0.62,
            True,
        )
    if person.bag == "handbag":
        x, sway = 0.16 * b, 0.02 * np.sin(swing)
        hang(
            (0.2, 0, 0), (x, 0.48, sway + 0.02), (x, 0.56, 0.02), [0.007, 0.007], person.bag_colour
        )
        hang(
            (0.2, 0, 0),
            (x, 0.36, sway),
            (x, 0.49, sway),
            [0.035, 0.04, 0.032],
            person.bag_colour,
            2.1,
        )
    if person.bag == "satchel":
        low, high = (-0.115 * b, 0.43, 0), (-0.115 * b, 0.55, 0)
        hang((-0.2, 0, 0), low, high, [0.034, 0.038, 0.036], person.bag_colour, 2.2)
    return found


def _pack(person: Person, azimuth: np.ndarray, height: np.ndarray) -> np.ndarray:
    colour = np.broadcast_to(np.float32(person.bag_colour), (*azimuth.shape, 3)).copy()
    colour[np.abs(height - 0.42) < 0.035] *= 0.55
    return colour
