"""Small rendered clips, and a folder of them ingested: fixtures that conftest files take from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cion_core import listing, work
from cion_core.ingest import stage as ingest
from cion_core.ingest.settings import Ingest

WIDTH, HEIGHT, FPS = 240, 160, 10


@pytest.fixture
def ingested(workspace: Path) -> Callable[..., None]:
    """ingested(source): list and ingest a folder into ./data."""

    def run(source: Path | str) -> None:
        work.write_json("data/listing/videos.json", listing.videos(str(source)))
        ingest.run(Ingest(source=str(source)))

    return run


@pytest.fixture
def film() -> Callable[..., Path]:
    """film(path, walkers, frames=40, brightness=1): a clip of ellipses that walk in front of a textured wall.

    Each walker is (colour, first x, pixels per frame), 25 x 80 pixels.
    """
    return _film


def _film(
    path: Path,
    walkers: Iterable[tuple[tuple[int, int, int], float, float]] = (),
    frames: int = 40,
    brightness: float = 1,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(90, 160, (20, 30, 3), np.uint8), (WIDTH, HEIGHT))
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in range(frames):
        image = wall.copy()
        for colour, x, speed in walkers:
            cv2.ellipse(image, (round(x + speed * frame), 90), (12, 40), 0, 0, 360, colour, -1)
        noise = rng.normal(0, 2, image.shape)
        writer.write((brightness * image + noise).clip(0, 255).astype(np.uint8))
    writer.release()
    return path
