"""The flow `watch` over a miniature pipeline: it runs stages only when there are new videos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

pytestmark = pytest.mark.slow

MAKE = """
import json, pathlib, sys
what, *needs = sys.argv[1:]
if what == "list":
    videos = sorted(path.name for path in pathlib.Path("clips").iterdir())
    out = pathlib.Path("data/listing/videos.json")
    text = json.dumps(videos)
else:
    out = pathlib.Path("data", what)
    out = out if out.suffix else out / "identities.parquet"
    text = what + " of " + ", ".join(pathlib.Path(need).read_text() for need in needs)
    with open("ran.txt", "a") as ran:
        ran.write(what + "\\n")
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(text)
"""


def level(before: str) -> dict:
    return {"before": before}


STAGES = {
    "list": {
        "cmd": "python make.py list",
        "always_changed": True,
        "outs": [{"data/listing/videos.json": {"cache": False}}],
    },
    "ingest": {
        "cmd": "python make.py ingest.txt data/listing/videos.json",
        "deps": ["data/listing/videos.json"],
        "outs": ["data/ingest.txt"],
    },
    "denoise": {
        "foreach": {
            "tracklet": level("data/ingest.txt"),
            "video": level("data/denoise/tracklet/identities.parquet"),
            "cross_video": level("data/denoise/video/identities.parquet"),
        },
        "do": {
            "cmd": "python make.py denoise/${key} ${item.before}",
            "deps": ["${item.before}"],
            "outs": ["data/denoise/${key}"],
        },
    },
}
LEVELS = ["denoise/tracklet", "denoise/video", "denoise/cross_video"]


@pytest.fixture
def footage(workspace: Path, client: SyncPrefectClient) -> Path:
    """A DVC project with one clip, whose earlier result is to be kept in `earlier`."""
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    Path("params.yaml").write_text(yaml.safe_dump({"denoise": {"earlier": "earlier"}}))
    Path("make.py").write_text(MAKE)
    Path("clips").mkdir()
    Path("clips/monday.mp4").touch()
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    return workspace


def watch(project: Path) -> str:
    """Run the flow once; what it logged."""
    done = subprocess.run(
        [sys.executable, "-c", "from flows.watch import watch; watch(retries=0)"],
        env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def ran() -> list[str]:
    """The stages that have run since the last call."""
    path = Path("ran.txt")
    names = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def test_stages_run_only_for_new_videos_and_go_on_from_the_result_before(
    footage: Path, project: Path
) -> None:
    watch(project)
    assert ran() == ["ingest.txt", *LEVELS]
    assert not Path("earlier").exists(), "there was no result yet"

    assert "no new videos" in watch(project)
    assert ran() == []

    before = Path("data/denoise/cross_video/identities.parquet").read_text()
    Path("clips/tuesday.mp4").touch()
    watch(project)
    assert ran() == ["ingest.txt", *LEVELS]
    assert json.loads(Path("data/listing/videos.json").read_text()) == ["monday.mp4", "tuesday.mp4"]
    assert Path("earlier/cross_video/identities.parquet").read_text() == before

    Path("data/denoise/video/identities.parquet").unlink()  # as a run leaves it that was stopped
    Path("clips/wednesday.mp4").touch()
    assert "earlier stays as it is" in watch(project)
    assert Path("earlier/cross_video/identities.parquet").read_text() == before
