"""Small rendered clips, and a folder of them ingested: fixtures that conftest files take from here.

`record` writes films whose frames carry their number as a row of dark and bright squares, in any
container, with any timestamps; `number_on` reads it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
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
        work.write_json("data/listing/videos.json", listing.list_videos(str(source)))
        ingest.run(Ingest(source=str(source)))

    return run


@pytest.fixture
def film() -> Callable[..., Path]:
    """film(path, walkers, frames=40, brightness=1): a clip of ellipses that walk.

    Behind them is a textured wall. Each walker is (colour, first x, pixels per frame), 25 x 80
    pixels.
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


BITS, SQUARE = 12, 16  # of a frame's number; pixels
MILLISECOND = Fraction(1, 1000)


def numbered_image(number: int, height: int = 48) -> np.ndarray:
    """A BGR image that shows `number` as a row of squares above a grey wall, lowest bit first."""
    image = np.full((height, BITS * SQUARE, 3), 128, np.uint8)
    for bit in range(BITS):
        image[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 * (number >> bit & 1)
    return image


def number_on(image: np.ndarray) -> int:
    """The number that an image shows."""
    middle = SQUARE // 2
    return sum(int(image[middle, bit * SQUARE + middle, 1] > 128) << bit for bit in range(BITS))


def record(
    path: Path,
    milliseconds: Sequence[int],
    codec: str = "libx264",
    rate: int = 10,
    rotation: int = 0,
    container: str | None = None,
    options: dict[str, str] | None = None,
    noise: bool = False,
    paint: Callable[[int], np.ndarray] = numbered_image,
    **codec_options: object,
) -> Path:
    """Write a film of numbered images, or of what `paint` makes of their numbers (BGR uint8).

    Each image stands at one of the times. `rate` is what the header claims; `noise` below the
    number makes frames that take some bytes; `options` are the container's, e.g. {"movflags":
    "faststart"}; `codec_options` the encoder's, e.g. g=12, bf=2.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {name: str(value) for name, value in codec_options.items()}
    with av.open(path, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=told)
        height, width = paint(0).shape[:2]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        # MPEG-2, MPEG-4 and AVI know no times between frames.
        if codec not in ("mpeg2video", "mpeg4") and path.suffix != ".avi":
            stream.codec_context.time_base = MILLISECOND
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(milliseconds):
            image = paint(number)
            if noise:
                image[SQUARE:] = np.random.default_rng(number).integers(
                    0, 256, image[SQUARE:].shape, np.uint8
                )
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = time, MILLISECOND
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
