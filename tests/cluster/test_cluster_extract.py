"""Extraction on a Ray cluster: the same files as on one machine, whatever fails.

Machines and clips may fail.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cion_core.extract import stage
from cion_core.extract.settings import Extract
from cion_core.runtime import Runtime

pytestmark = pytest.mark.slow  # clusters are begun

OUT = Path("data/tracklets")
LOCAL, RAY = Runtime(), Runtime(engine="ray")

# It notes each video that it begins, waits in dark ones while the file `hold` is there, and dies in
# black ones.
WATCHED = """
import os
import time

from cion_core.extract.detectors.base import Detector, detections


class Watched(Detector):
    about = "one box, always the same"

    def begin(self, path, probe):
        with open("begun.txt", "a") as begun:
            begun.write(f"{os.path.basename(path)} {os.getpid()}\\n")

    def detect(self, frame, index):
        if frame.mean() < 15:
            os.abort()
        while frame.mean() < 60 and os.path.exists("hold"):
            time.sleep(0.05)
        return detections([[50, 20, 80, 120]], [0.9])


class Shared(Watched):
    about = "the same, in one process for all videos of a machine"
    shared = True
"""


def written() -> dict[str, bytes]:
    """All files of the result, by name."""
    return {path.name: path.read_bytes() for path in sorted(OUT.rglob("*")) if path.is_file()}


def begun() -> list[tuple[str, int]]:
    """The videos that were begun, and by which processes."""
    path = Path("begun.txt")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, int(process)) for name, process in (line.split() for line in lines)]


def test_a_lost_machine_costs_its_unfinished_videos_alone(
    own_file: Callable,
    film: Callable,
    ingested: Callable,
    settings: Extract,
    machines,
    workspace: Path,
) -> None:
    own_file(WATCHED)
    watched = Extract.model_validate(
        settings.model_dump() | {"detector": "mine.Watched", "mine": {"Watched": {}}}
    )
    for name, frames, brightness in (("a", 60, 1), ("b", 60, 1), ("c", 30, 0.3), ("d", 30, 0.3)):
        film(workspace / "clips" / f"{name}.mp4", frames=frames, brightness=brightness)
    ingested("clips")
    stage.run(watched, LOCAL)
    wanted = written()
    Path("begun.txt").unlink(missing_ok=True)

    lost: list[str] = []

    def cut_the_power() -> None:
        """Once both machines are at a held video, each."""
        while not {"c.mp4", "d.mp4"} <= {name for name, _ in begun()}:
            time.sleep(0.1)
        there = machines.processes_of_second()
        lost.extend(name for name, process in begun() if process in [one.pid for one in there])
        machines.lose_second()
        _, alive = psutil.wait_procs(there, timeout=60)
        lost.extend(f"{one.pid} lives" for one in alive)
        Path("hold").unlink()

    Path("hold").touch()
    thread = threading.Thread(target=cut_the_power)
    thread.start()
    try:
        stage.run(watched, RAY)
    finally:
        Path("hold").unlink(missing_ok=True)
        thread.join()
    assert written() == wanted
    unfinished = [name for name in lost if name in ("c.mp4", "d.mp4")]
    assert len(unfinished) == 1 and not [name for name in lost if "lives" in name]
    assert sorted(name for name, _ in begun()) == sorted(
        ["a.mp4", "b.mp4", "c.mp4", "d.mp4", *unfinished]
    )


@pytest.mark.parametrize("detector", ["Watched", "Shared"])
def test_a_clip_that_kills_its_worker_twice_is_set_aside_as_on_one_machine(
    detector: str,
    own_file: Callable,
    film: Callable,
    ingested: Callable,
    settings: Extract,
    machines,
    workspace: Path,
) -> None:
    own_file(WATCHED)
    named = {"detector": f"mine.{detector}", "mine": {detector: {}}}
    watched = Extract.model_validate(settings.model_dump() | named)
    for name, brightness in (("a", 1), ("b", 0.05), ("c", 1)):
        film(workspace / "clips" / f"{name}.mp4", frames=24, brightness=brightness)
    ingested("clips")
    stage.run(watched, LOCAL)
    wanted = written()
    assert b"the process died on it twice" in wanted["extract.json"] or detector == "Shared"
    assert b"b.mp4" in wanted["extract.json"].split(b"set_aside")[1]
    Path("begun.txt").unlink(missing_ok=True)
    stage.run(watched, RAY)
    assert written() == wanted
