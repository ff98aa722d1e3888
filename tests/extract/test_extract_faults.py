"""What kills or stops the work on one video costs that video alone.

So it is with a detector of its own and with a shared one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cion_core import tables, work
from cion_core.errors import CionError
from cion_core.extract import stage
from cion_core.extract.settings import Extract
from cion_core.extract.shared_detector import SharedDetector

OUT = Path("data/tracklets")
MEBIBYTE = 2**20
DARK = 40  # grey levels: the bad films are darker than this, the good ones are not

FAULTY = """
import os
import time

import numpy as np

from cion_core.config import Section
from cion_core.errors import CionError
from cion_core.extract.detectors.base import Detector, detections


class Faulty(Detector):
    about = "one box, always the same, unless the picture is dark"

    class Settings(Section):
        fault: str

    def __init__(self, p):
        super().__init__(p)
        if self.settings.fault == "no weights":
            raise CionError("no weights; put them at here.pt")

    def detect(self, frame, index):
        if frame.mean() < {dark} and index >= 4:
            getattr(self, self.settings.fault)()
        return detections([[50, 20, 80, 120]], [0.9])

    def crash(self):
        os.abort()

    def fail(self):
        raise KeyError("no such key")

    def hang(self):
        time.sleep(600)

    def eat(self):
        self.eaten = []
        while True:
            self.eaten.append(np.ones(8 * 2**20, np.uint8))
            time.sleep(0.01)

    def fill_the_disk(self):
        raise OSError(28, "No space left on device")


class Shared(Faulty):
    about = "the same, in one process for all videos"
    shared = True
"""


@pytest.fixture
def faulty(own_file: Callable, settings: Extract) -> Callable[[str, bool], Extract]:
    """faulty(fault, shared): settings with a detector that has that fault on dark films."""

    def make(fault: str, shared: bool) -> Extract:
        own_file(FAULTY.format(dark=DARK))
        name = "Shared" if shared else "Faulty"
        changes = {"detector": f"mine.{name}", "mine": {name: {"fault": fault}}}
        return Extract.model_validate(settings.model_dump() | changes)

    return make


@pytest.fixture
def bad_among_good(ingested: Callable, workspace: Path, film: Callable) -> None:
    """Two good films, and a dark one, which is begun first."""
    for name in ("a", "c"):
        film(workspace / "clips" / f"{name}.mp4", frames=20)
    film(workspace / "clips" / "b.mp4", frames=24, brightness=0.2)
    ingested("clips")


def written() -> tuple[pd.DataFrame, dict]:
    return tables.read(tables.Crops, OUT / "crops.parquet"), json.loads(
        (OUT / "extract.json").read_text()
    )


WORDS = {
    "crash": r"killed by signal 6 \(aborted\)",
    "fail": r"KeyError: 'no such key' \(mine\.py, line \d+\)",
    "hang": r"it gave no sign of life for 15 seconds",
    "eat": r"it took more than 0\.3 GiB of memory",
}


SLOW = pytest.mark.slow  # several processes are begun, one after another


@pytest.mark.parametrize(
    ("fault", "shared"),
    [
        ("crash", False),
        pytest.param("crash", True, marks=SLOW),
        pytest.param("fail", False, marks=SLOW),
        pytest.param("fail", True, marks=SLOW),
        pytest.param("hang", False, marks=SLOW),
        pytest.param("hang", True, marks=SLOW),
        pytest.param("eat", False, marks=SLOW),
        pytest.param("eat", True, marks=SLOW),
    ],
)
def test_a_detector_that_fails_on_one_video_costs_only_that(
    fault: str, shared: bool, faulty, bad_among_good, monkeypatch, capsys
) -> None:
    if fault == "hang":
        monkeypatch.setattr(stage, "SILENCE", 15.0)
    if fault == "eat":
        monkeypatch.setattr(stage, "MEMORY", 300 * MEBIBYTE)
    stage.run(faulty(fault, shared))
    crops, report = written()
    assert [row["video"] for row in report["videos"]] == ["a.mp4", "c.mp4"]
    assert set(crops.video) == {"a.mp4", "c.mp4"}
    (aside,) = report["set_aside"]
    assert aside["video"] == "b.mp4" and "twice" in aside["reason"]
    assert re.search(WORDS[fault], aside["reason"])
    told = capsys.readouterr().out
    assert "b.mp4 set aside" in told and "what to do about b.mp4: extract again" in told
    if shared:
        assert "the detector failed on its frames" in aside["reason"]
    assert "DetectorFailed" not in aside["reason"]
    assert not any(work.ROOT.glob("extract/*"))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize(
    ("fault", "said"), [("fill_the_disk", "No space left"), ("no weights", "put them at here.pt")]
)
def test_what_is_no_fault_of_a_video_ends_the_stage(
    fault, said, shared, faulty, bad_among_good
) -> None:
    with pytest.raises(CionError, match=said):
        stage.run(faulty(fault, shared))


@pytest.mark.slow
def test_results_are_the_same_by_own_and_shared_detectors_and_any_number_of_processes(
    faulty, ingested, workspace, film, monkeypatch
) -> None:
    for name in ("a", "b", "c"):
        film(workspace / "clips" / f"{name}.mp4", frames=40)
    ingested("clips")
    results = []
    for shared, processes in ((False, 1), (False, 3), (True, 1), (True, 3)):
        monkeypatch.setattr(os, "cpu_count", lambda processes=processes: processes)
        stage.run(faulty("none", shared))
        results.append(
            {path.name: path.read_bytes() for path in sorted(OUT.rglob("*")) if path.is_file()}
        )
    assert {*results[0]} == {
        "000000.tar",
        "000001.tar",
        "000002.tar",
        "crops.parquet",
        "extract.json",
    }
    assert all(result == results[0] for result in results)


def test_a_shared_detector_that_cannot_be_made_says_why(faulty) -> None:
    with pytest.raises(CionError, match=r"put them at here\.pt"):
        SharedDetector(faulty("no weights", True), silence=60, memory=None)


def test_a_video_of_a_very_long_name(faulty, ingested, workspace, film) -> None:
    name = "動" * 80 + ".mp4"  # 244 bytes
    film(workspace / "a.mp4", frames=20).rename(_made(workspace / "clips") / name)
    ingested("clips")
    stage.run(faulty("none", False))
    crops, _ = written()
    assert set(crops.video) == {name}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


RUN = """
from pathlib import Path

from cion_core.extract import stage
from cion_core.extract.settings import Extract

if __name__ == "__main__":
    stage.run(Extract.model_validate_json(Path("settings.json").read_text()))
"""


@pytest.mark.slow
def test_killed_it_goes_on_with_the_rest(faulty, ingested, workspace, film, monkeypatch) -> None:
    """The first film is done when the stage is killed, while the second one hangs."""
    film(workspace / "clips" / "a.mp4", frames=60)
    film(workspace / "clips" / "b.mp4", frames=20, brightness=0.2)
    ingested("clips")
    hanging = faulty("hang", False)
    Path("settings.json").write_text(hanging.model_dump_json())
    Path("run.py").write_text(RUN)
    path = os.pathsep.join([str(workspace), *sys.path])
    process = subprocess.Popen([sys.executable, "run.py"], env={**os.environ, "PYTHONPATH": path})
    try:
        while not list(work.ROOT.glob("extract/*/000000.json")):
            assert process.poll() is None, "it has ended before it was killed"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    (workspace / "clips" / "a.mp4").unlink()  # a is done, and needs its clip no more
    monkeypatch.setattr(stage, "SILENCE", 15.0)
    stage.run(hanging)
    crops, report = written()
    assert set(crops.video) == {"a.mp4"}
    assert [video["video"] for video in report["set_aside"]] == ["b.mp4"]
