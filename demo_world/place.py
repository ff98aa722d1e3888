"""A camera at work: people in a scene, in painter's order, with the truth about who is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from demo_world import scene
from demo_world.camera import Drift, Light, Sensor, View
from demo_world.figure import BODY, GROUND, SIZE, draw
from demo_world.people import Person
from demo_world.settings import Frame, Look
from demo_world.walks import Walk


@dataclass(frozen=True)
class Layer:
    """One thing to paint: uint8 RGBA with alpha multiplied in, its place, and its distance."""

    z: float
    x1: int
    y1: int
    rgba: np.ndarray
    who: int | None = None

    def within(self, height: int, width: int) -> tuple[slice, slice, np.ndarray]:
        """The rows and columns of the frame that it covers, and the part of it that lies there."""
        h, w = self.rgba.shape[:2]
        top, left = min(max(self.y1, 0), height), min(max(self.x1, 0), width)
        low, right = max(min(self.y1 + h, height), top), max(min(self.x1 + w, width), left)
        part = self.rgba[top - self.y1 : low - self.y1, left - self.x1 : right - self.x1]
        return slice(top, low), slice(left, right), part


@dataclass(frozen=True)
class Seen:
    """Who is in a frame, where, and how much of them shows.

    The box is of the whole silhouette, clipped to the frame; `visible` is the fraction that shows.
    """

    who: int
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, the last two exclusive
    visible: float


class Place:
    """One viewpoint with its scene and light.

    `sensor` is given, since a camera keeps it wherever it stands.
    """

    def __init__(self, frame: Frame, look: Look, sensor: Sensor, rng: np.random.Generator):
        self.view = View.sample(frame, rng)
        self.light = Light.sample(look, rng)
        self.scene = scene.build(self.view, look, rng)
        self.background = self.light.tone(self.scene.background)
        self.props = [Layer(p.z, p.x1, p.y1, self._toned(p.rgba)) for p in self.scene.props]
        self.drift = Drift.sample(look, frame.fps, rng)
        self.sensor = sensor
        self.grain = sensor.grain(frame.height, frame.width, rng)
        self._sprite = lru_cache(600)(self._sprite)  # of this place only: the light is part of it

    def shoot(
        self, people: Sequence[Person], walks: Sequence[Walk], frame: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Seen]]:
        """The frame as recorded, uint8 BGR [H, W, 3], and who is in it.

        `who` counts in `people`.
        """
        layers = list(self.props)
        for who, (person, walk) in enumerate(zip(people, walks, strict=True)):
            if walk.start <= frame < walk.end:
                layers.append(self._layer(who, person, walk, frame))
        layers.sort(key=lambda layer: -layer.z)
        picture = self.background.copy()
        for layer in layers:
            _paint(picture, layer)
        picture = self.drift.tone(picture, frame)
        return self.sensor.see(picture, self.grain, rng), _seen(layers, *picture.shape[:2])

    def _layer(self, who: int, person: Person, walk: Walk, frame: int) -> Layer:
        x, z, yaw, phase = walk.pose(frame, person.height)
        rgba, left, top = self._sprite(person, yaw, phase)
        column, row = self.view.pixel(x, z)
        scale = person.height * self.view.scale(z) / BODY
        size = max(round(rgba.shape[1] * scale), 1), max(round(rgba.shape[0] * scale), 1)
        small = cv2.resize(
            rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        # The light comes after tone(), so haze is neglected.
        light = scene.light_at(self.scene.shade, column, row) ** self.light.gamma
        small[..., :3] = np.minimum(small[..., :3] * light, 255)
        return Layer(
            z,
            round(column + (left - SIZE[1] / 2) * scale),
            round(row + (top - GROUND) * scale),
            small,
            who,
        )

    def _sprite(self, person: Person, yaw: int, phase: int) -> tuple[np.ndarray, int, int]:
        """A sprite in this place's light, cut to its content, and where its corner lay."""
        sprite = draw(person, yaw, phase)
        x, y, w, h = cv2.boundingRect(sprite[..., 3])
        return self._toned(sprite[y : y + h, x : x + w]), x, y

    def _toned(self, rgba: np.ndarray) -> np.ndarray:
        alpha = rgba[..., 3:]
        rgb = self.light.tone(np.ascontiguousarray(rgba[..., :3])).astype(np.uint16) * alpha // 255
        return np.dstack([rgb.astype(np.uint8), alpha])


def _paint(picture: np.ndarray, layer: Layer) -> None:
    rows, columns, rgba = layer.within(*picture.shape[:2])
    patch = picture[rows, columns]
    kept = 255 - rgba[..., 3:].astype(np.uint16)
    picture[rows, columns] = np.minimum(patch * kept // 255 + rgba[..., :3], 255)


def _seen(layers: list[Layer], height: int, width: int) -> list[Seen]:
    """Who shows how much of himself, from the nearest layer to the farthest.

    A shadow is no part of anyone.
    """
    covered = np.zeros((height, width), bool)
    seen = []
    for layer in reversed(layers):
        rows, columns, rgba = layer.within(height, width)
        body = rgba[..., 3] > 128
        if layer.who is not None:
            whole = layer.rgba[..., 3] > 128
            shown = (body & ~covered[rows, columns]).sum() / max(whole.sum(), 1)
            x, y, w, h = cv2.boundingRect(whole.astype(np.uint8))
            x, y = x + layer.x1, y + layer.y1
            box = (max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
            if box[0] < box[2] and box[1] < box[3]:
                seen.append(Seen(layer.who, tuple(map(float, box)), float(shown)))
        covered[rows, columns] |= body
    return seen
