"""Single pictures of drawn people, without a place or a camera."""

from __future__ import annotations

import numpy as np

from demo_world import figure
from demo_world.people import person


def render_portraits(people: int, views: int = 1, seed: int = 0) -> list[np.ndarray]:
    """`views` images of each of `people` in turn, RGB uint8 [H, W, 3].

    Each image has a background, a turn, a walk phase and a light of its own, whose colour is off as
    a camera's is.
    """
    images = []
    for who in range(people):
        someone = person(np.random.default_rng([seed, who]))
        for view in range(views):
            rng = np.random.default_rng([seed, who, view])
            sprite = figure.draw(
                someone, int(rng.integers(figure.YAWS)), int(rng.integers(figure.PHASES))
            )
            rows, columns = (np.flatnonzero(sprite[..., 3].any(axis=1 - axis)) for axis in (0, 1))
            sprite = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)
            opacity = sprite[..., 3:] / 255
            behind = rng.uniform(60, 190) + rng.normal(0, 12, (*sprite.shape[:2], 1))
            light = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.1, 3))
            lit = (sprite[..., :3] * opacity + behind * (1 - opacity)) * light
            images.append(lit.clip(0, 255).astype(np.uint8))
    return images
