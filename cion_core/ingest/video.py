"""Videos as the rest of CION sees them: what they are, and their frames, one in memory at a time.

A video is a file that the decoder can open (`container`), or a folder of numbered images
(`sequence`). Times are those of the container's own clock (`clock`), in seconds since the first
frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cion_core.ingest import container, looks, sequence
from cion_core.ingest.decoder import Decoder, first_frame, to_bgr
from cion_core.ingest.problems import BadVideo, NoVideo

__all__ = ["BadVideo", "Frames", "NoVideo", "Probe", "probe", "slot"]

NO_RATE = (
    "a sequence of images without a rate; set ingest.sequence_fps, or frameRate in a "
    f"{sequence.INFO} beside them"
)


@dataclass(frozen=True)
class Probe:
    """What a video is.

    Attributes:
        fps: frames a second while the video runs, whatever gaps are in it.
        frames: how many it claims to have; a truncated file has less.
        width: in pixels, as it is shown (phones' rotation applied).
        height: likewise.
        replaced: what of its clock was replaced, in words; empty where nothing was.
    """

    fps: float
    frames: int
    width: int
    height: int
    replaced: str = ""


def probe(
    path: Path, fps: float | None = None, report: Callable[[int], None] = lambda amount: None
) -> Probe:
    """Go through the packets of a video, and decode its first frame.

    Args:
        path: a file, or the folder of a sequence.
        fps: frames a second of a sequence; a file tells its own.
        report: is called with 0 again and again, as a sign of life.

    Returns:
        Its rate, frames and size.

    Raises:
        BadVideo: it cannot be used, for the reason that the message tells.
    """
    if path.is_dir():
        if fps is None:
            raise BadVideo(NO_RATE)
        found = sequence.find_images(path)
        width, height = sequence.size(found)
        return Probe(fps, int(found.places[-1]) + 1, width, height)
    index = container.read_index(path, report)
    first = to_bgr(first_frame(path, index))
    height, width = first.shape[:2]
    return Probe(index.clock.fps, index.claimed, width, height, index.clock.replaced)


class Frames:
    """Iterate over (index, time in seconds, BGR uint8 [H, W, 3]) of the frames that are looked at.

    Of every 1/`rate` seconds of the video's clock the first frame is taken. Only what is needed for
    these is decoded, and only these are converted to BGR. The index counts all frames of the video,
    also those that cannot be decoded.

    Attributes:
        passed: frames of the video that have gone by so far; all that it claims to have when the
            iteration ends.
        lost: of these, those that were needed and could not be decoded, and those that a truncated
            file lacks.
        damaged: frames in which the decoder has filled in what it could not read.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        rate: float,
        threads: int = 1,
        report: Callable[[int], None] = lambda amount: None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: a file, or the folder of a sequence.
            fps: that of the video's Probe.
            rate: looks per second; infinite: every frame.
            threads: how many decode this video together.
            report: is called with 0 while packets are gone through, as a sign of life.
        """
        self.path, self.fps, self.rate, self.threads, self.report = path, fps, rate, threads, report
        self.passed = self.lost = self.damaged = 0

    @property
    def decoded(self) -> int:
        """Frames that have gone by and are not lost."""
        return self.passed - self.lost

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        return self._read_folder() if self.path.is_dir() else self._read_file()

    def _read_file(self) -> Iterator[tuple[int, float, np.ndarray]]:
        index = container.read_index(self.path, self.report)
        times = index.clock.times
        wanted = looks.choose_looks(times, index.clock.fps, self.rate)
        decoder = Decoder(self.path, index, wanted, self.threads)
        size = None
        for number, frame in decoder:
            size = size or (frame.width, frame.height)
            self._count(decoder)
            yield number, float(times[number]), to_bgr(frame, size)
        self._count(decoder)

    def _count(self, decoder: Decoder) -> None:
        self.passed, self.lost, self.damaged = decoder.passed, decoder.lost, decoder.damaged

    def _read_folder(self) -> Iterator[tuple[int, float, np.ndarray]]:
        found = sequence.find_images(self.path)
        times = found.places / self.fps
        wanted = looks.choose_looks(times, self.fps, self.rate)
        shape = None
        for path, place, time, take in zip(
            found.paths, found.places.tolist(), times.tolist(), wanted, strict=True
        ):
            self.passed = place + 1
            if not take:
                continue
            image = sequence.read(path)
            if image is not None and shape is None:
                shape = image.shape
            if image is None or image.shape != shape:
                self.lost += 1
            else:
                yield place, time, image


def slot(time: float, rate: float) -> int:
    """Say which slot of 1/`rate` seconds a time falls into, safe against rounding at borders.

    Args:
        time: seconds.
        rate: slots a second.

    Returns:
        The slot's number, from 0.
    """
    return math.floor(time * rate + 1e-6)
