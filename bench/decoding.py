"""What decoding costs, and what skipping saves: the reader beside OpenCV's, in turns in one run.

    python bench/decoding.py [VIDEO...] [--repeat 3]

Without VIDEO: a rendered film (H.264 with B-frames, 768 x 432, 25 frames a second). Each form gives
the frames that are looked at as BGR arrays.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from cion_core.ingest import container
from cion_core.ingest.video import Frames, probe

RATES = (math.inf, 10, 3, 0.5)  # looks per second


def film(path: Path, seconds: int = 40) -> Path:
    """A disc that moves over a textured wall."""
    wall = cv2.resize(np.random.default_rng(0).integers(60, 190, (54, 96, 3), np.uint8), (768, 432))
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "50", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 768, 432, "yuv420p"
        for number in range(25 * seconds):
            image = wall.copy()
            cv2.circle(image, (number * 5 % 768, 200), 60, (30, 30, 220), -1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        file.mux(stream.encode(None))
    return path


def by_opencv(path: Path, fps: float, rate: float) -> int:
    """Every frame is decoded, and those that are looked at are converted."""
    capture, count, index = cv2.VideoCapture(str(path)), 0, 0
    while capture.grab():
        if rate >= fps or math.floor(index * rate / fps + 1e-6) != math.floor(
            (index - 1) * rate / fps + 1e-6
        ):
            count += capture.retrieve()[0]
        index += 1
    return count


def by_reader(path: Path, fps: float, rate: float) -> int:
    """Only what the looked-at frames need is decoded."""
    return sum(1 for _ in Frames(path, fps, rate))


def forms(path: Path, fps: float) -> dict[str, Callable[[], int]]:
    """What is timed, by its name."""
    found: dict[str, Callable[[], int]] = {
        "packets alone": lambda: container.read_index(path).frames
    }
    for rate in RATES:
        told = "all frames" if math.isinf(rate) else f"{rate:g} looks/s"
        found[f"OpenCV, {told}"] = lambda rate=rate: by_opencv(path, fps, rate)
        found[f"reader, {told}"] = lambda rate=rate: by_reader(path, fps, rate)
    return found


def main() -> None:
    """Print a table for each video."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.videos or [film(Path(folder, "rendered.mp4"))]:
            found = probe(path)
            timed = forms(path, found.fps)
            seconds: dict[str, list[float]] = {name: [] for name in timed}
            looks = {}
            for _ in range(arguments.repeat):
                for name, run in timed.items():
                    start = time.perf_counter()
                    looks[name] = run()
                    seconds[name].append(time.perf_counter() - start)
            whole = np.median(seconds["OpenCV, all frames"])
            print(
                f"\n{path.name}, {found.frames} frames\n\n| form | frames out | seconds | of "
                "OpenCV, all frames |"
            )
            print("| --- | ---: | ---: | ---: |")
            for name, values in seconds.items():
                print(
                    f"| {name} | {looks[name]} | {np.median(values):.2f} | "
                    f"{np.median(values) / whole:.2f} |"
                )


if __name__ == "__main__":
    main()
