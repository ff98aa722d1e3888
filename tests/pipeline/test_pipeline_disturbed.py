"""`dvc repro` killed in every stage, and called twice at once: its outputs stay the same.

Each process of Python counts what it does with files below data/ and .cion (`COUNTER`). Of a run
that nobody disturbs the counts are kept; then a number up to that count, by a fixed seed, is the
moment at which the whole process group is killed by signal 9.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from miniature import Project

pytestmark = pytest.mark.slow  # two reproductions, one of them with a kill in every stage
ROOT = Path(__file__).parents[2]
DVC = "dvc"  # how the process of DVC itself is called here
COUNTER = """
import atexit, json, os, pathlib, signal, sys

OF_FILES = ("open", "os.rename", "os.remove", "os.mkdir", "os.symlink", "shutil.rmtree")
stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2] or "dvc"
worker = any("multiprocessing" in word for word in sys.orig_argv)
name = f"{stage} worker" if worker else stage
victim, _, moment = os.environ.get("KILLED_AT", "").rpartition("=")
count = 0


def counted(event, arguments):
    global count
    if event not in OF_FILES or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path = os.path.relpath(os.fsdecode(arguments[0]))
    writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes and path.split(os.sep)[0] in ("data", ".cion", ".dvc", "dvc.lock"):
        count += 1
        if victim == name and count == int(moment):
            os.killpg(0, signal.SIGKILL)


def told():
    if folder := os.environ.get("TRACED"):
        pathlib.Path(folder, f"{os.getpid()}.count").write_text(json.dumps([name, count]))


sys.addaudithook(counted)
atexit.register(told)
"""
SMALL = {
    "demo/world.yaml": {"videos": {"people": 4, "count": 2, "seconds": 8}},
    "params.yaml": {"pretrain": {"methods": ["cion"], "steps": 4}},
}
# Outputs that hold seconds and milliseconds are never the same twice.
TIMED = ("data/costs", "data/reports/index.html")


def make(folder: Path) -> Project:
    folder.mkdir()
    project = Project(ROOT, folder)
    (project.traced / "sitecustomize.py").write_text(COUNTER)
    for name, values in SMALL.items():
        project.change(name, values)
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make(tmp_path_factory.mktemp("undisturbed") / "project")
    project.run("dvc", "repro")
    return project


def outputs(project: Project) -> dict[str, str]:
    """Hashes by path of what all stages have written, as DVC has locked it."""
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    return {
        out["path"]: out["md5"]
        for stage in stages.values()
        for out in stage.get("outs", [])
        if not out["path"].startswith(TIMED)
    }


def counts(project: Project) -> dict[str, int]:
    """How often each kind of process has touched files, in the order in which they ended.

    Of several processes of a kind it is the least.
    """
    found: dict[str, int] = {}
    for file in sorted(project.traced.glob("*.count"), key=lambda file: file.stat().st_mtime_ns):
        name, count = json.loads(file.read_text())
        found[name] = min(count, found.get(name, count))
    return {name: count for name, count in found.items() if count}


def kill_at(project: Project, name: str, moment: int) -> bool:
    """Reproduce until process `name` touches a file for the `moment`-th time; False: it did not."""
    environment = project.environment | {"KILLED_AT": f"{name}={moment}"}
    running = subprocess.Popen(
        ["dvc", "repro"], cwd=project.folder, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = running.communicate()
    assert running.returncode in (0, -signal.SIGKILL), said[-4000:]
    assert "Traceback" not in said
    return running.returncode != 0


def test_killed_in_every_stage_it_goes_on_to_the_same_outputs(
    undisturbed: Project, tmp_path: Path
) -> None:
    moments = counts(undisturbed)
    stages = [name for name in moments if name != DVC and not name.endswith("worker")]
    assert {name.split("@")[0] for name in stages} >= {
        "list", "ingest", "extract", "embed", "denoise", "audit", "benchmark", "pretrain",
        "finetune", "evaluate", "compare",
    }  # fmt: skip
    rng = random.Random(0)
    project = make(tmp_path / "project")
    of_a_stage = moments.pop(DVC) // len(stages)
    missed = []
    for number, (name, count) in enumerate(moments.items()):
        if number % 5 == 2:  # DVC itself, about when it puts away what a stage has written
            kill_at(project, DVC, rng.randint(1, of_a_stage))
        if not kill_at(project, name, rng.randint(1, count)):
            missed.append(name)
    project.run("dvc", "repro")
    assert outputs(project) == outputs(undisturbed)
    assert not project.stale()
    assert len(missed) <= len(moments) // 4, f"{missed} were not killed"


def test_of_two_at_once_none_corrupts(undisturbed: Project) -> None:
    """Both begin with the stage `list`; one of them waits, or is told what it would wait for."""
    before = outputs(undisturbed)
    undisturbed.change("params.yaml", {"denoise": {"min_crops": 6}})
    running = [
        subprocess.Popen(
            ["dvc", "repro", "denoise@cross_video"], cwd=undisturbed.folder,
            env=undisturbed.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    for process, text in zip(running, said, strict=True):
        assert "Traceback" not in text
        if process.returncode:
            assert "lock" in text or "busy" in text, text[-2000:]
    undisturbed.run("dvc", "repro", "denoise@cross_video")
    at_once = outputs(undisturbed)
    for level in ("tracklet", "video", "cross_video"):
        undisturbed.run("dvc", "repro", "--force", "--single-item", f"denoise@{level}")
    assert outputs(undisturbed) == at_once != before
    assert os.listdir(undisturbed.folder / "data/denoise")
