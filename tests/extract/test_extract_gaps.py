"""A camera that records only while something moves.

The minutes between are no time at all in its file's frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from films import HEIGHT, WIDTH, record

from cion_core import tables
from cion_core.extract import stage
from cion_core.extract.settings import Extract

SECONDS, FPS, GAP = 4, 10, 60
RED, BLUE = (20, 20, 230), (230, 30, 20)
WALL = cv2.resize(
    np.random.default_rng(0).integers(90, 160, (20, 30, 3), np.uint8), (WIDTH, HEIGHT)
)


def one_after_the_other(number: int) -> np.ndarray:
    """Frame `number`: somebody in red walks for SECONDS, then somebody in blue from there."""
    image = WALL.copy()
    colour = RED if number < SECONDS * FPS else BLUE
    cv2.ellipse(image, (10 + 2 * number, 90), (12, 40), 0, 0, 360, colour, -1)
    noise = np.random.default_rng(number).normal(0, 2, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def test_two_people_with_a_minute_of_nothing_between_them_are_two_tracklets(
    ingested: Callable, workspace: Path, settings: Extract
) -> None:
    frames = 2 * SECONDS * FPS
    waited = [0 if number < frames // 2 else GAP for number in range(frames)]
    times = [round(1000 * (number / FPS + wait)) for number, wait in enumerate(waited)]
    record(workspace / "clips/door.mp4", times, paint=one_after_the_other)
    ingested("clips")
    stage.run(settings)
    crops = tables.read(tables.Crops, "data/tracklets/crops.parquet")
    report = json.loads(Path("data/tracklets/extract.json").read_text())

    seen = crops.groupby("tracklet").time_s.agg(["min", "max"])
    assert report["tracklets"] == len(seen) == 2
    assert seen["max"][0] < SECONDS and seen["min"][1] >= SECONDS + GAP
    assert (seen["max"] - seen["min"] > SECONDS / 2).all()
    # Without the gap they are one, so it is the clock that tells them apart.
    record(
        workspace / "clips/door.mp4",
        [1000 * number // FPS for number in range(frames)],
        paint=one_after_the_other,
    )
    ingested("clips")
    stage.run(settings)
    assert tables.read(tables.Crops, "data/tracklets/crops.parquet").tracklet.nunique() == 1
