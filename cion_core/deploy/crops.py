"""Images of people to try a model on: files, or rendered ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cion_core.errors import CionError
from cion_core.images import read_image
from demo_world import figure
from demo_world.people import person

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def files(paths: Iterable[Path]) -> list[Path]:
    """Image files as named, and those of folders at any depth, in order of their names; CionError for none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not below:
                raise CionError(f"{path}: no images ({', '.join(SUFFIXES)})")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise CionError(f"{path}: no such file or folder")
    return found


def read(paths: Iterable[Path]) -> list[np.ndarray]:
    """The images of `files(paths)`, RGB uint8 [H, W, 3] each."""
    return [read_image(path) for path in files(paths)]


def rendered(people: int, views: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Drawn people of the demo world: `views` images of each in turn, RGB uint8 [H, W, 3].

    Each image has a background, a turn, a walk phase and a light of its own, whose colour is off as a camera's is.
    """
    images = []
    for who in range(people):
        someone = person(np.random.default_rng([seed, who]))
        for view in range(views):
            rng = np.random.default_rng([seed, who, view])
            sprite = figure.draw(someone, int(rng.integers(figure.YAWS)), int(rng.integers(figure.PHASES)))
            rows, columns = (np.flatnonzero(sprite[..., 3].any(axis=1 - axis)) for axis in (0, 1))
            sprite = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)
            opacity = sprite[..., 3:] / 255
            behind = rng.uniform(60, 190) + rng.normal(0, 12, (*sprite.shape[:2], 1))
            light = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.1, 3))
            lit = (sprite[..., :3] * opacity + behind * (1 - opacity)) * light
            images.append(lit.clip(0, 255).astype(np.uint8))
    return images
