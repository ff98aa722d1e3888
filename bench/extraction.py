"""How fast videos become tracklets: decoding, detecting, the whole chain, ultralytics' loop.

python bench/extraction.py --weights yolo11n.onnx CLIP...

All forms look at every frame of the same clips with the same weights, in turns, in this one process
(the shared detector alone has a process of its own, as in the stage). Rates are medians over the
rounds. What counts are the ratios: the whole chain against the slower of decoding and detecting,
and against ultralytics' own loop.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import av

from cion_core import params
from cion_core.extract.detectors.base import Detector
from cion_core.extract.settings import Extract
from cion_core.extract.shared_detector import BorrowedDetector, SharedDetector, make_detector
from cion_core.extract.shots import Look, ShotFinder
from cion_core.extract.video_crops import batch_looks, extract_video
from cion_core.ingest.video import BadVideo, Frames, Probe, probe

SILENCE = 600.0


@dataclass
class Form:
    """One way to go through a clip: `work` returns how many frames it went through."""

    name: str
    work: Callable[[Path], int]
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Frames a second, the median of the rounds."""
        return statistics.median(self.rates)


def excerpt(clip: Path, frames: int, folder: Path) -> Path:
    """The first packets of a clip, as they are, in a file of their own."""
    out = folder / f"{clip.stem}{clip.suffix}"
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if number == frames or packet.dts is None:
                break
            packet.stream = copied
            target.mux(packet)
    return out


def looks_of(clip: Path, found: Probe) -> Iterable[Look]:
    """Every frame of a clip, decoded, with its shot."""
    return ShotFinder().number(Look(*frame) for frame in Frames(clip, found.fps, float("inf")))


def decode(clip: Path) -> int:
    """Decoding and cuts alone."""
    return sum(1 for _ in looks_of(clip, probe(clip)))


def detect_in(detector: Detector, kept: dict[Path, list[list[Look]]]) -> Callable[[Path], int]:
    """Detecting alone, in frames that are decoded already."""

    def work(clip: Path) -> int:
        detector.begin(clip, probe(clip))
        for batch in kept[clip]:
            detector.detect_many([look.image for look in batch], [look.index for look in batch])
        return sum(len(batch) for batch in kept[clip])

    return work


def whole(detector: Detector | BorrowedDetector, p: Extract, folder: Path) -> Callable[[Path], int]:
    """The whole chain of one process, from the file to the tar of crops."""

    def work(clip: Path) -> int:
        gone_by: list[int] = []
        with suppress(BadVideo):  # nobody is in it, which takes as long
            extract_video(clip, probe(clip), detector, p, folder / "crops.tar", gone_by.append)
        return sum(gone_by)

    return work


def ultralytics_loop(weights: str, confidence: float) -> Callable[[Path], int]:
    """`YOLO.track` of people, with its ByteTrack, which draws and writes nothing."""
    from cion_core import compat  # noqa: F401 before ultralytics, which imports torchvision
    from ultralytics import YOLO  # isort: skip

    model = YOLO(weights, task="detect")

    def work(clip: Path) -> int:
        results = model.track(
            str(clip),
            stream=True,
            classes=[0],
            conf=confidence,
            tracker="bytetrack.yaml",
            verbose=False,
        )
        return sum(1 for _ in results)

    return work


def measure(forms: list[Form], clips: list[Path], rounds: int) -> None:
    """Let all forms go through all clips, in turns.

    The first round warms up, and does not count.
    """
    for round_number in range(rounds + 1):
        for form in forms:
            begun = time.perf_counter()
            frames = sum(form.work(clip) for clip in clips)
            if round_number:
                form.rates.append(frames / (time.perf_counter() - begun))


def table(forms: list[Form]) -> str:
    """A row for each form, and the two ratios."""
    rate = {form.name: form.rate for form in forms}
    slower = min(rate["decoding alone"], rate["detecting alone"])
    lines = [
        "| form | frames a second | of the slower part | of ultralytics' loop |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, value in rate.items():
        beside = f"{value / rate['ultralytics track']:.2f}" if "ultralytics track" in rate else ""
        lines.append(f"| {name} | {value:.1f} | {value / slower:.2f} | {beside} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument(
        "--weights", help="of ultralytics; without: the detector of params.yaml, and no ultralytics"
    )
    parser.add_argument("--frames", type=int, default=100, help="of each clip, from its beginning")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    values = params.read(Path(__file__).parents[1] / "params.yaml")["extract"] | {"rate": 1000}
    if given.weights:
        values |= {"detector": "yolo", "yolo": values["yolo"] | {"weights": given.weights}}
    p = Extract.model_validate(values)
    with tempfile.TemporaryDirectory() as scratch, SharedDetector(p, SILENCE, None) as shared:
        folder = Path(scratch)
        clips = [excerpt(clip, given.frames, folder) for clip in given.clips]
        kept = {clip: list(batch_looks(looks_of(clip, probe(clip)))) for clip in clips}
        detector = make_detector(p)
        forms = [
            Form("decoding alone", decode),
            Form("detecting alone", detect_in(detector, kept)),
            Form("whole", whole(detector, p, folder)),
            Form("whole, shared detector", whole(BorrowedDetector(shared.address), p, folder)),
        ]
        if given.weights:
            forms.append(Form("ultralytics track", ultralytics_loop(given.weights, p.confidence)))
        measure(forms, clips, given.rounds)
    print(table(forms))


if __name__ == "__main__":
    main()
