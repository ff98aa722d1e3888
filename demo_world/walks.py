"""How people move: routes over the ground, walked at a steady pace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_world.camera import FAR, NEAR, View
from demo_world.figure import PHASES, YAWS

OUT = 0.7  # metres beyond the frame's edge where a route begins and ends
STRIDE = 0.84  # body heights walked in one cycle of the legs
ROUTES = {"across": 0.3, "slant": 0.25, "door": 0.3, "turn": 0.15}

Ground = tuple[float, float]


@dataclass(frozen=True)
class Walk:
    """Where one person is from `start` seconds on.

    `points` (x, z in metres) and `headings` have one row per frame.
    """

    start: int  # frame
    points: np.ndarray  # [n, 2]
    headings: np.ndarray  # [n, 2], unit vectors
    travelled: np.ndarray  # [n], metres

    @property
    def end(self) -> int:
        return self.start + len(self.points)

    def pose(self, frame: int, height: float) -> tuple[float, float, int, int]:
        """Where a person of `height` metres is at `frame`, and how they stand.

        x, z (metres), yaw (of YAWS) and walk phase (of PHASES).
        """
        i = frame - self.start
        x, z = self.points[i]
        ray = np.array([x, z]) / np.hypot(x, z)
        ahead, right = self.headings[i] @ ray, self.headings[i] @ np.array([ray[1], -ray[0]])
        yaw = round(np.arctan2(right, -ahead) / (2 * np.pi) * YAWS) % YAWS
        phase = int(self.travelled[i] / (STRIDE * height) * PHASES) % PHASES
        return float(x), float(z), yaw, phase


def walk(view: View, door: Ground, start: int, fps: float, rng: np.random.Generator) -> Walk:
    """A walk along a random route that begins and ends out of sight."""
    route = _round(np.array(_route(view, door, rng)))
    if rng.random() < 0.5:
        route = route[::-1]
    steps = np.hypot(*np.diff(route, axis=0).T)
    length = np.concatenate([[0], np.cumsum(steps)])
    travelled = np.arange(0, length[-1], rng.uniform(1.05, 1.5) / fps)
    points = np.column_stack([np.interp(travelled, length, route[:, k]) for k in (0, 1)])
    headings = np.gradient(points, axis=0)
    return Walk(
        start, points, headings / np.hypot(*headings.T)[:, None], travelled + rng.uniform(0, 2)
    )


def _route(view: View, door: Ground, rng: np.random.Generator) -> list[Ground]:
    kind = rng.choice(list(ROUTES), p=list(ROUTES.values()))
    side = rng.choice((-1, 1))
    middle = (NEAR + FAR) / 2

    def edge(side: int, z: float) -> Ground:
        return side * (view.side(z) + OUT), z

    if kind == "across":
        z = rng.uniform(NEAR, FAR)
        return [edge(-side, z), edge(side, float(np.clip(z + rng.normal(0, 1), NEAR, FAR)))]
    if kind == "slant":
        near, far = rng.uniform(NEAR, middle - 1), rng.uniform(middle + 1, FAR)
        bend = (rng.uniform(-0.5, 0.5) * view.side(middle), middle)
        return [edge(-side, far), bend, edge(side, near)]
    if kind == "turn":
        near, far = rng.uniform(NEAR, middle - 1), rng.uniform(middle + 1, FAR)
        reach = side * rng.uniform(-0.3, 0.5)
        return [
            edge(side, far),
            (reach * view.side(far), far),
            (reach * view.side(near), near),
            edge(side, near),
        ]
    # Out from behind the kiosk, towards the camera, and off to a side.
    step = door[0] + side * 1.5
    near = rng.uniform(NEAR, NEAR + 1.5)
    return [
        door,
        (step, door[1] - 0.2),
        (rng.uniform(-0.6, 0.6) * view.side(near), near),
        edge(side, near - 0.3),
    ]


def _round(route: np.ndarray) -> np.ndarray:
    """Cut the corners (Chaikin, three times): nobody turns on the spot."""
    for _ in range(3):
        a, b = route[:-1], route[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 2)
        route = np.concatenate([route[:1], cut, route[-1:]])
    return route
