"""Trackers scored on drawn sequences of the MOT challenge, so that every box is known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_parts import own_file  # noqa: F401

from cion_core import params
from cion_core.audit import mot, mot_curve
from cion_core.errors import CionError
from cion_core.extract.settings import Extract

COLOURS = ((0, 0, 250), (0, 250, 0), (250, 0, 0))
FRAMES, FPS = 30, 10

# A detector that finds each of the colours, one that may die, and a tracker that takes all of them
# for one person.
OWN = f"""
import os
import signal

import cv2
import numpy as np

from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.trackers.base import Tracker


class Colours(Detector):
    about = "boxes of three colours"

    def detect(self, frame, index):
        boxes = []
        for colour in {COLOURS}:
            mask = (np.abs(frame.astype(int) - colour).max(axis=2) < 90).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if w > 10:
                boxes.append([x, y, x + w, y + h])
        return detections(boxes, [0.9] * len(boxes))


class Deadly(Colours):
    about = "dies where somebody red stands at the left edge, as a decoder of a damaged frame does"

    def detect(self, frame, index):
        if frame[80, 5, 2] > 200:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().detect(frame, index)


class OneForAll(Tracker):
    about = "everybody is one tracklet"

    def update(self, found, time, frame):
        found.tracker_id = np.zeros(len(found), int)
        return found
"""


def draw(
    folder: Path, people: Sequence[tuple[int, int]], extra: str = "", frames: int = FRAMES
) -> Path:
    """A sequence in which person i, of its colour, walks from x by a speed.

    `extra` are more lines of truth.
    """
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    lines = []
    for frame in range(frames):
        image = np.full((160, 400, 3), 128, np.uint8)
        for person, (start, speed) in enumerate(people):
            x = start + speed * frame
            cv2.rectangle(image, (x, 40), (x + 29, 119), COLOURS[person], -1)
            lines.append(f"{frame + 1},{person + 1},{x + 1},41,30,80,1,1,1.0\n")
        cv2.imwrite(
            str(folder / "img1" / f"{frame + 1:06d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 98]
        )
    (folder / "gt" / "gt.txt").write_text("".join(lines) + extra)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={FPS}\n"
    )
    return folder


@pytest.fixture
def settings(project: Path, own_file: Callable) -> Extract:  # noqa: F811
    """params.yaml's section, with the detector of colours."""
    own_file(OWN)
    values = params.read(project / "params.yaml")["extract"]
    return Extract.model_validate(values | {"detector": "mine.Colours"})


def numbers(p: Extract, folders: list[Path], trackers: list[str]) -> dict:
    mot.run(p, folders, trackers, Path("out.json"))
    return json.loads(Path("out.json").read_text())["trackers"]


def test_people_who_stay_apart_are_followed_without_a_fault(settings, workspace: Path) -> None:
    draw(workspace / "mot/a", [(10, 3), (250, -2)])
    draw(workspace / "mot/deep/b", [(50, 1)])
    found = numbers(settings, [workspace / "mot"], ["bytetrack", "sort", "botsort"])
    for by_sequence in found.values():
        assert list(by_sequence) == ["a", "deep/b", "all"]
        for name, people in (("a", 2), ("deep/b", 1), ("all", 3)):
            row = by_sequence[name]
            assert row["purity"] == row["fragments"] == 1.0 and row["mixed"] == row["switches"] == 0
            assert row["tracklets"] == people
            # Tracks are reported from the second sighting on.
            assert row["recall"] == pytest.approx(29 / 30, abs=1e-4)
            assert row["MOTA"] == pytest.approx(29 / 30, abs=1e-4)
            assert row["IDF1"] == pytest.approx(2 * 29 / (29 + 30), abs=1e-4)
            assert row["HOTA"] > 0.9


def test_a_tracker_that_mixes_people_is_impure(settings, workspace: Path) -> None:
    """One number for a person of 30 frames and one of 30 more is right half of the time."""
    draw(workspace / "a", [(10, 3)])
    draw(workspace / "b", [(10, 3), (250, -2)], frames=20)
    one = numbers(settings, [workspace / "a"], ["mine.OneForAll"])["mine.OneForAll"]["all"]
    assert one["purity"] == 1.0 and one["mixed"] == 0.0
    both = numbers(settings, [workspace / "a", workspace / "b"], ["mine.OneForAll"])[
        "mine.OneForAll"
    ]
    assert both["b"]["purity"] == 0.5 and both["b"]["mixed"] == 1.0
    assert both["all"]["purity"] == pytest.approx((30 + 20) / (30 + 40), abs=1e-4)


def test_truth_that_does_not_count_is_nobodys_miss(settings, workspace: Path) -> None:
    ignored = "".join(
        f"{frame},9,300,41,30,80,0,1,1\n{frame},8,350,41,30,80,1,3,1\n" for frame in range(1, 31)
    )
    draw(workspace / "a", [(10, 3)], extra=ignored)
    row = numbers(settings, [workspace / "a"], ["sort"])["sort"]["all"]
    assert row["recall"] == row["MOTA"] == pytest.approx(29 / 30, abs=1e-4)


def test_only_frames_that_are_looked_at_count(settings, workspace: Path) -> None:
    draw(workspace / "a", [(10, 3)], frames=60)
    slow = settings.model_copy(update={"rate": 5})
    row = numbers(slow, [workspace / "a"], ["sort"])["sort"]["all"]
    assert row["recall"] == row["MOTA"] == pytest.approx(29 / 30, abs=1e-4)


def test_whoever_is_seen_too_shortly_is_no_tracklet(settings, workspace: Path) -> None:
    draw(workspace / "a", [(10, 3)], frames=6)  # 0.6 s, two crops
    row = numbers(settings, [workspace / "a"], ["sort"])["sort"]["all"]
    assert (row["tracklets"], row["recall"], row["purity"], row["HOTA"]) == (0, 0.0, 1.0, 0.0)


def test_the_table_has_a_row_for_each_tracker_and_sequence(settings, workspace: Path) -> None:
    draw(workspace / "mot/a", [(10, 3)])
    lines = mot.run(settings, [workspace / "mot"], ["sort", "bytetrack"]).splitlines()
    assert lines[0].split()[:5] == ["tracker", "sequence", "purity", "recall", "fragments"]
    assert [line.split()[:2] for line in lines[2:]] == [
        ["sort", "a"], ["sort", "all"], ["bytetrack", "a"], ["bytetrack", "all"],
    ]  # fmt: skip


def test_settings_of_variants_are_followed_beside_each_other(settings, workspace: Path) -> None:
    """At 12 of 30 pixels a frame, an overlap of 0.1 keeps somebody, and one of 0.99 does not."""
    draw(workspace / "a", [(10, 12)], frames=30)
    footage = mot.find(workspace / "a")
    variants = {
        str(overlap): mot.chosen(settings, "sort", overlap=overlap) for overlap in (0.1, 0.99)
    }
    found, _ = mot.score(footage, variants)
    assert found["0.1"]["all"]["recall"] > 0.9 > found["0.99"]["all"]["recall"]


def test_the_curve_has_a_point_for_each_overlap_and_is_a_picture(settings, workspace: Path) -> None:
    draw(workspace / "a", [(10, 12), (390, -12)], frames=20)
    told = mot.run(
        settings, [workspace / "a"], ["sort", "mine.OneForAll"], Path("out.json"), Path("curve.png")
    )
    names = [f"sort {overlap:g}" for overlap in mot_curve.OVERLAPS] + ["mine.OneForAll"]
    found = json.loads(Path("out.json").read_text())["trackers"]
    assert list(found) == names and all(name.split()[-1] in told for name in names)
    recall = [found[name]["all"]["recall"] for name in names[:-1]]
    assert recall == sorted(recall, reverse=True) and recall[0] > recall[-1], (
        "stricter, so fewer are found"
    )
    height, width = cv2.imread("curve.png").shape[:2]
    assert height > 500 and width > 500


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (
            lambda folder: (folder / "gt/gt.txt").unlink(),
            r"no sequence with truth in it\nvalid: SEQUENCE/gt/gt\.txt",
        ),
        (
            lambda folder: (folder / "gt/gt.txt").write_text("a,b\n"),
            r"gt\.txt: not the truth of a sequence: Invalid",
        ),
        (
            lambda folder: (folder / "gt/gt.txt").write_text(""),
            r"gt\.txt: not the truth of a sequence: .*empty",
        ),
        (
            lambda folder: (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=fast\n"),
            "frameRate fast",
        ),
    ],
)
def test_a_sequence_that_cannot_be_used_is_named(
    settings, workspace: Path, break_it, said: str
) -> None:
    break_it(draw(workspace / "a", [(10, 3)], frames=12))
    with pytest.raises(CionError, match=said):
        mot.run(settings, [workspace / "a"], [])


def test_sequences_that_cannot_be_used_are_set_aside_and_the_others_scored(
    settings, workspace: Path, capsys: pytest.CaptureFixture
) -> None:
    """One kills the process that works on it, one has a first image that is none, one no rate."""
    p = settings.model_dump(exclude={"mine"}) | {"detector": "mine.Deadly"}
    p = Extract.model_validate(p)
    for name, start in (("deadly", 0), ("good", 40), ("rateless", 40), ("torn", 40)):
        draw(workspace / "mot" / name, [(start, 3)], frames=20)
    (workspace / "mot/rateless/seqinfo.ini").write_text("[Sequence]\nframeRate=0\n")
    for image in (workspace / "mot/torn/img1").iterdir():
        image.write_bytes(b"\xff\xd8\xff" + b"words" * 9)
    found = numbers(p, [workspace / "mot"], ["sort"])["sort"]
    aside = json.loads(Path("out.json").read_text())["set_aside"]
    assert list(found) == ["good", "all"] and found["good"]["purity"] == 1.0
    assert sorted(aside) == ["deadly", "rateless", "torn"]
    assert "died on it twice" in aside["deadly"] and "signal 11" in aside["deadly"]
    assert "frameRate 0" in aside["rateless"] and "none of its images can be read" in aside["torn"]
    said = capsys.readouterr().out
    assert all(f"{name} set aside: {reason}" in said for name, reason in aside.items())


def test_the_command_writes_a_table_and_json(project: Path, settings, workspace: Path) -> None:
    draw(workspace / "mot/a", [(10, 3), (250, -2)])
    text = (
        (project / "params.yaml")
        .read_text()
        .replace("detector: motion ", "detector: mine.Colours ", 1)
    )
    (workspace / "params.yaml").write_text(text)
    words = ["audit", "tracking", "mot", "--tracker", "sort", "--out", "numbers.json"]
    done = subprocess.run(
        [sys.executable, "-m", "cion_core.cli", *words],
        cwd=workspace,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "purity" in done.stdout and "Traceback" not in done.stderr
    written = json.loads((workspace / "numbers.json").read_text())
    assert (
        written["detector"] == "mine.Colours"
        and written["trackers"]["sort"]["all"]["purity"] == 1.0
    )
