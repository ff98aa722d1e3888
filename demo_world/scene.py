"""What a camera looks at: ground, buildings, clutter, and what people walk behind."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from demo_world.camera import FAR, NEAR, View
from demo_world.settings import Look

WALL = 15.0  # metres from the camera to the buildings
SKYLIGHT = np.array([0.94, 1.0, 1.1])  # shadows are bluish
GROUNDS = (
    (126, 124, 120),
    (150, 142, 130),
    (104, 108, 112),
    (118, 122, 106),
    (160, 156, 150),
    (132, 118, 108),
)
WALLS = (
    (146, 108, 96),
    (174, 168, 158),
    (122, 128, 136),
    (186, 174, 150),
    (98, 94, 94),
    (136, 146, 140),
    (176, 152, 132),
)


@dataclass(frozen=True)
class Prop:
    """Something static at distance `z` that hides who walks behind it.

    `rgba` lies at column x1, row y1.
    """

    z: float
    x1: int
    y1: int
    rgba: np.ndarray


@dataclass(frozen=True)
class Scene:
    """`door` is the ground point behind the widest prop, where people can appear and vanish."""

    background: np.ndarray  # uint8 RGB [H, W, 3], without props
    shade: np.ndarray  # float32 RGB [H, W, 3], how much light falls where
    props: tuple[Prop, ...]  # far to near
    door: tuple[float, float]


def build(view: View, look: Look, rng: np.random.Generator) -> Scene:
    """A place, drawn anew from `rng`."""
    picture = _sky(view, rng)
    _ground(picture, view, rng)
    _buildings(picture, view, rng)
    for _ in range(rng.integers(3, 8)):
        _clutter(picture, view, rng)
    shade = _shade(view, look, rng)
    grain = rng.normal(0, 4, picture.shape[:2])[..., None] + 18 * (
        _clouds(view.height, view.width, 24, rng)[..., None] - 0.5
    )
    background = (picture.astype(np.float32) + grain).clip(0, 255) * shade
    door = (float(rng.uniform(-0.55, 0.55) * view.side(FAR)), FAR + 0.9)
    props = [_kiosk(view, door[0], FAR + 0.3, rng)]
    if rng.random() < 0.7:
        props.append(_post(view, rng))
    for prop in props:
        column, row = prop.x1 + prop.rgba.shape[1] // 2, prop.y1 + prop.rgba.shape[0]
        prop.rgba[..., :3] = (prop.rgba[..., :3] * light_at(shade, column, row)).clip(0, 255)
    return Scene(background.clip(0, 255).astype(np.uint8), shade, tuple(props), door)


def light_at(shade: np.ndarray, column: float, row: float) -> np.ndarray:
    """The light (RGB gains) on what stands at a pixel, or at the one nearest to it in the frame."""
    height, width = shade.shape[:2]
    return shade[min(max(int(row), 0), height - 1), min(max(int(column), 0), width - 1)]


def _shade(view: View, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, and the sun's shadows.

    Shadows are of the houses (with the sky behind), and of trees and poles out of sight.
    """
    mask = np.zeros((view.height, view.width, 3), np.uint8)
    near, wide = 2.0, 10.0
    if rng.random() < 0.6:
        left, right = rng.uniform(NEAR + 1, WALL, 2)
        edge = [view.pixel(-wide, left), view.pixel(wide, right)]
        _polygon(mask, [*edge, (4 * view.width, 0), (-3 * view.width, 0)], (255,) * 3)
    for _ in range(rng.integers(1, 4)):
        x, z, size = (
            rng.uniform(-1, 1) * view.side(FAR),
            rng.uniform(NEAR, FAR),
            rng.uniform(0.6, 1.8),
        )
        if rng.random() < 0.5:
            far = x + rng.uniform(-4, 4)
            outline = [(x, near), (x + size, near), (far + size, WALL), (far, WALL)]
        else:
            around = np.arange(0, 2 * np.pi, 0.3)
            reach = size * rng.uniform(0.7, 1.3, len(around))
            outline = zip(
                x + reach * np.cos(around),
                np.maximum(z + reach * np.sin(around), near),
                strict=True,
            )
        _polygon(mask, [view.pixel(*point) for point in outline], (255,) * 3)
    shadow = cv2.GaussianBlur(mask, (0, 0), 2.5).astype(np.float32) / 255
    left_over = rng.uniform(*look.shadow) * SKYLIGHT
    uneven = 1.08 - _clouds(view.height, view.width, 3, rng)[..., None] * rng.uniform(0.1, 0.3)
    return (uneven * (1 - shadow * (1 - left_over))).astype(np.float32)


def _clouds(height: int, width: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in 0..1 with about `cells` lumps across."""
    small = rng.random((max(2, cells * height // width), cells + 1), np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def _vary(
    colour: tuple[int, int, int], rng: np.random.Generator, by: float = 6
) -> tuple[float, float, float]:
    colour = np.array(colour) * rng.uniform(0.8, 1.15) + rng.normal(0, by, 3)
    return tuple(float(c) for c in colour.clip(10, 245))


def _polygon(picture: np.ndarray, points: list[tuple[float, float]], colour: tuple) -> None:
    cv2.fillPoly(
        picture, [np.round(np.array(points) * 16).astype(np.int32)], colour, cv2.LINE_AA, 4
    )


def _sky(view: View, rng: np.random.Generator) -> np.ndarray:
    top, low = np.array(_vary((150, 180, 215), rng)), np.array(_vary((215, 218, 218), rng))
    fade = np.linspace(0, 1, view.height)[:, None, None]
    return np.ascontiguousarray(
        np.broadcast_to(top + (low - top) * fade, (view.height, view.width, 3))
    ).astype(np.uint8)


def _ground(picture: np.ndarray, view: View, rng: np.random.Generator) -> None:
    """Ground in perspective: a base colour, perhaps tiles, and a path.

    The path runs across or towards the camera.
    """
    base = GROUNDS[rng.integers(len(GROUNDS))]
    row = round(view.pixel(0, WALL)[1])
    picture[row:] = _vary(base, rng)
    near, wide = 3.0, 30.0
    if rng.random() < 0.6:
        colour, tile = tuple(0.86 * float(c) for c in picture[-1, 0]), rng.uniform(0.8, 1.8)
        for z in np.arange(near, WALL, tile):
            cv2.line(picture, *_ends(view, (-wide, z), (wide, z)), colour, 1, cv2.LINE_AA, 4)
        for x in np.arange(-wide / 2, wide / 2, tile):
            cv2.line(picture, *_ends(view, (x, near), (x, WALL)), colour, 1, cv2.LINE_AA, 4)
    path = _vary(GROUNDS[rng.integers(len(GROUNDS))], rng)
    if rng.random() < 0.5:
        z1 = rng.uniform(NEAR, FAR - 2)
        corners = [
            (-wide, z1),
            (wide, z1 + rng.uniform(-1, 1)),
            (wide, z1 + 2.5),
            (-wide, z1 + 2.5),
        ]
    else:
        x1, x2 = rng.uniform(-3, 3, 2)
        corners = [(x1, near), (x1 + 2.2, near), (x2 + 2.2, WALL), (x2, WALL)]
    _polygon(picture, [view.pixel(*corner) for corner in corners], path)


def _ends(view: View, *points: tuple[float, float]) -> list[tuple[int, int]]:
    return [tuple(round(16 * c) for c in view.pixel(*point)) for point in points]


def _buildings(picture: np.ndarray, view: View, rng: np.random.Generator) -> None:
    """A row of house fronts with windows and doors, standing on the far edge of the ground."""
    scale, x = view.scale(WALL), -view.side(WALL) - rng.uniform(0, 3)
    while x < view.side(WALL):
        wide, tall = rng.uniform(3, 8), rng.uniform(3.5, 9)
        wall = _vary(WALLS[rng.integers(len(WALLS))], rng)
        if rng.random() < 0.15:  # a gap with trees
            for _ in range(25):
                centre = view.pixel(x + rng.uniform(0, wide), WALL, rng.uniform(0.3, 3.0))
                cv2.circle(
                    picture,
                    tuple(int(c) for c in centre),
                    int(rng.uniform(0.5, 1.2) * scale),
                    _vary((62, 92, 52), rng),
                    -1,
                )
            x += wide
            continue
        left, top = view.pixel(x, WALL, tall)
        right, low = view.pixel(x + wide, WALL)
        _polygon(picture, [(left, top), (right, top), (right, low), (left, low)], wall)
        glass, step, size = _vary((70, 84, 100), rng), rng.uniform(1.3, 2.0), rng.uniform(0.6, 1.0)
        for storey in np.arange(1.3, tall - 1, 2.6):
            for at in np.arange(0.5, wide - 1, step):
                (wx, wy), (vx, vy) = (
                    view.pixel(x + at, WALL, storey + 1.1),
                    view.pixel(x + at + size, WALL, storey),
                )
                _polygon(picture, [(wx, wy), (vx, wy), (vx, vy), (wx, vy)], glass)
        x += wide


def _clutter(picture: np.ndarray, view: View, rng: np.random.Generator) -> None:
    """A bush, a bin, a sign or a parked crate beyond where people walk."""
    z = rng.uniform(FAR + 1.2, WALL - 0.3)
    x, colour = (
        rng.uniform(-1, 1) * view.side(z),
        _vary(((70, 98, 58), (60, 66, 74), (150, 60, 52), (70, 92, 140))[rng.integers(4)], rng),
    )
    if rng.random() < 0.5:
        for _ in range(14):
            centre = view.pixel(x + rng.normal(0, 0.4), z, abs(rng.normal(0.3, 0.25)))
            cv2.circle(
                picture,
                tuple(int(c) for c in centre),
                int(rng.uniform(0.12, 0.3) * view.scale(z)),
                _vary((66, 96, 56), rng),
                -1,
            )
    else:
        wide, tall = rng.uniform(0.4, 1.4), rng.uniform(0.6, 1.5)
        (left, top), (right, low) = view.pixel(x, z, tall), view.pixel(x + wide, z)
        _polygon(picture, [(left, top), (right, top), (right, low), (left, low)], colour)
        _polygon(
            picture,
            [(left, top), (right, top), (right, top + 3), (left, top + 3)],
            tuple(0.6 * c for c in colour),
        )


def _prop(
    view: View,
    x: float,
    z: float,
    wide: float,
    tall: float,
    colour: tuple,
    rng: np.random.Generator,
) -> Prop:
    (left, top), (right, low) = view.pixel(x - wide / 2, z, tall), view.pixel(x + wide / 2, z)
    x1, y1, x2, y2 = (round(v) for v in (left, top, right, low))
    rgba = np.full((max(y2 - y1, 1), max(x2 - x1, 1), 4), 255, np.uint8)
    light = np.linspace(1.08, 0.78, rgba.shape[1])[None, :, None]
    grain = 1 + 0.12 * (_clouds(*rgba.shape[:2], 4, rng)[..., None] - 0.5)
    rgba[..., :3] = (np.array(colour) * light * grain).clip(0, 255)
    return Prop(z, x1, y1, rgba)


def _kiosk(view: View, x: float, z: float, rng: np.random.Generator) -> Prop:
    prop = _prop(
        view, x, z, rng.uniform(1.3, 1.7), 2.5, _vary(WALLS[rng.integers(len(WALLS))], rng), rng
    )
    h, w = prop.rgba.shape[:2]
    prop.rgba[: h // 8, :, :3] = prop.rgba[: h // 8, :, :3] // 2
    prop.rgba[h // 4 : h // 2, w // 6 : -w // 6, :3] = _vary((70, 84, 100), rng)
    return prop


def _post(view: View, rng: np.random.Generator) -> Prop:
    """A pillar or a tree trunk among those who walk."""
    z = rng.uniform(NEAR + 1, FAR - 1)
    x = rng.uniform(-0.6, 0.6) * view.side(z)
    return _prop(
        view,
        x,
        z,
        rng.uniform(0.22, 0.5),
        6.0,
        _vary(((92, 72, 56), (150, 148, 144))[rng.integers(2)], rng),
        rng,
    )
