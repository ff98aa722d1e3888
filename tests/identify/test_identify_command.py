"""`cion identify` as a user calls it: on clips of two cameras, outside of any project.

It is also killed, and called again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from cion_core import params
from cion_core.config import load_yaml
from cion_core.identify import command
from cion_core.identify.boxes import PersonTrack
from cion_core.identify.drawing import Drawing, Writer, draw, draw_all

RED, BLUE = (20, 20, 230), (230, 30, 20)


@pytest.fixture
def two_cameras(workspace: Path, film: Callable[..., Path]) -> list[Path]:
    """A red and a blue walker, in a clip each of two cameras with clips of one name."""
    both = [(RED, 10, 4.0), (BLUE, 120, 3.0)]
    return [film(workspace / camera / "clip.mp4", both) for camera in ("door", "hall")]


def identify(*words: object) -> subprocess.CompletedProcess:
    words = [str(word) for word in words]
    line = [sys.executable, "-m", "cion_core.cli", "identify", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)


def test_the_defaults_are_those_of_params_yaml(project: Path) -> None:
    shipped, own = params.read(project / "params.yaml"), load_yaml(command.DEFAULTS)
    own["ingest"]["source"] = shipped["ingest"]["source"]
    assert own == {name: shipped[name] for name in own}


def test_the_model_that_ships_is_the_projects_stripes(project: Path) -> None:
    name = "card.json"
    assert json.loads((command.STRIPES / name).read_text()) == json.loads(
        (project / "models/stripes" / name).read_text()
    )


def test_two_cameras_tables_page_and_videos(two_cameras: list[Path]) -> None:
    done = identify(*two_cameras, "--out", "out", "--draw")
    assert done.returncode == 0, done.stderr
    assert "colours of clothes alone" in done.stdout and "in 2 videos" in done.stdout
    found = pd.read_parquet("out/identities.parquet")
    assert sorted(found.video.unique()) == ["door/clip.mp4", "hall/clip.mp4"]
    pd.testing.assert_frame_equal(pd.read_csv("out/identities.csv"), found, check_dtype=False)
    assert (
        len(Path("out/mot/door/clip.mp4.txt").read_text().splitlines())
        == (found.video == "door/clip.mp4").sum()
    )
    page = Path("out/index.html").read_text()
    assert page.count("<article") == found.identity.nunique() and "data:image/jpeg" in page
    for camera in ("door", "hall"):
        with (
            av.open(f"out/drawn/{camera}/clip.mp4") as drawn,
            av.open(f"{camera}/clip.mp4") as given,
        ):
            times = [[frame.time for frame in video.decode(video=0)] for video in (drawn, given)]
        np.testing.assert_allclose(times[0], times[1], atol=2e-3)
    assert not Path(".cion").exists() and not Path("mlflow.db").exists()


def test_a_second_call_makes_nothing_again_and_another_clip_does(
    two_cameras: list[Path], film: Callable[..., Path]
) -> None:
    assert identify(two_cameras[0], "--out", "out", "--draw").returncode == 0
    drawn = Path("out/drawn/door/clip.mp4").stat().st_mtime_ns
    again = identify(two_cameras[0], "--out", "out", "--draw")
    assert again.returncode == 0
    assert (
        "extract: done by an earlier run" in again.stdout
        and "embed: done by an earlier run" in again.stdout
    )
    assert Path("out/drawn/door/clip.mp4").stat().st_mtime_ns == drawn
    more = identify(*two_cameras, "--out", "out")
    assert more.returncode == 0 and "done by an earlier run" not in more.stdout
    assert pd.read_parquet("out/identities.parquet").video.nunique() == 2


KILLED = """
import os, signal, sys
from cion_core.embed import stage
stage.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
from cion_core.cli import main
main()
"""


def test_a_killed_call_goes_on(two_cameras: list[Path]) -> None:
    words = ["identify", *map(str, two_cameras), "--out", "out"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], capture_output=True, check=False, env=os.environ
    )
    assert killed.returncode == -signal.SIGKILL
    done = identify(*two_cameras, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "extract: done by an earlier run" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.mp4"], "none.mp4: no such file"),
        (["door", "--model", "none"], "no such file or folder"),
        (["door", "--detector", "nobody"], "nobody"),
        (["door", "--weights", "some.pt"], "the detector motion takes no file"),
    ],
)
def test_what_is_wrong_is_said_in_few_lines(
    two_cameras: list[Path], words: list[str], said: str
) -> None:
    done = identify(*words, "--out", "out")
    assert done.returncode == 1 and said in done.stderr
    error = done.stderr[done.stderr.index("identify: ") :]
    assert len(error.strip().splitlines()) <= 3 and "Traceback" not in error


def test_frames_of_odd_size_and_of_one_instant_are_written(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "odd.mp4", (61, 47), 10.0)
    for time in (0.0, 0.0, 0.5, 7.25):
        writer.write(np.zeros((61, 47, 3), np.uint8), time)
    writer.close()
    with av.open(str(tmp_path / "odd.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([0, 0.001, 0.5, 7.25], abs=1e-3)


def test_what_must_not_be_stored_is_taken_out_of_every_drawn_frame(
    workspace: Path, film: Callable[..., Path]
) -> None:
    path = film(workspace / "clip.mp4", [(RED, 10, 4.0)], frames=8)
    concealed = []

    def paint_black(image: np.ndarray) -> np.ndarray:
        concealed.append(image)
        return np.zeros_like(image)

    out, mark = workspace / "out.mp4", workspace / "done"
    drawing = Drawing("clip.mp4", path, 10, [], 1.0, out, mark)
    draw(drawing, lambda frames: None, paint_black)
    with av.open(str(out)) as drawn:
        frames = [frame.to_ndarray(format="bgr24") for frame in drawn.decode(video=0)]
    assert len(frames) == len(concealed) == 8 and max(frame.max() for frame in frames) < 20


class DeadlyTrack(PersonTrack):
    """Kills the process that draws it, as a decoder may that reads out of bounds."""

    def box_at(self, time: float, max_gap: float) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


def test_a_video_that_cannot_be_drawn_costs_itself_alone(
    workspace: Path, film: Callable[..., Path]
) -> None:
    film(workspace / "good.mp4", [(RED, 10, 4.0)], frames=8)
    film(workspace / "deadly.mp4", frames=8)
    (workspace / "torn.mp4").write_bytes((workspace / "good.mp4").read_bytes()[:200])
    nowhere = np.empty(0), np.empty((0, 4))
    drawings = []
    for name in ("torn", "deadly", "good", "gone"):
        tracks = [DeadlyTrack(1, *nowhere)] if name == "deadly" else []
        out, mark = workspace / f"drawn/{name}.mp4", workspace / f"{name}.done"
        path = workspace / f"{name}.mp4"
        drawings.append(Drawing(name, path, 10, tracks, 1.0, out, mark))
    (workspace / "drawn").mkdir()
    (workspace / "drawn/torn.mp4").write_text("of an earlier call")
    reasons = {drawing.video: reason for drawing, reason in draw_all(drawings, False, print)}
    assert reasons["good"] is None
    assert "signal 11" in reasons["deadly"] and "no such file" in reasons["gone"].lower()
    assert "BadVideo" not in reasons["torn"] and reasons["torn"]
    assert [path.name for path in (workspace / "drawn").glob("[!.]*")] == ["good.mp4"]
    assert [path.name for path in workspace.glob("*.done")] == ["good.done"]


def test_blurred_faces_are_asked_for_in_crops_and_drawn_videos_alike() -> None:
    for blur_faces in (False, True):
        request = command.Request([Path("clip.mp4")], Path("out"), blur_faces=blur_faces)
        assert command.make_settings(request).extract.blur_faces == blur_faces
