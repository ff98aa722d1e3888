"""A flow whose stages go to two workers in two folders.

They share a DVC remote and a git revision, and no disk.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from server_asked import last_run, prefect, until

pytestmark = pytest.mark.slow

# Each stage notes where it ran, waits until it may end, and writes what it was given.
STAGE = """
import pathlib, sys, time
shared, name, needs = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
with open(shared / "ran.txt", "a") as ran:
    ran.write(f"{name} in {pathlib.Path.cwd().name}\\n")
while (shared / f"hold {name}").exists():
    time.sleep(0.1)
given = [pathlib.Path(need).read_text() for need in needs]
pathlib.Path(f"{name}.txt").write_text(f"{name}({', '.join(given)})")
"""
LISTED = (
    "import pathlib; d = pathlib.Path('listed'); d.mkdir(exist_ok=True); (d / "
    "'a').write_text('a'); "
)
LISTED += "(d / 'link').is_symlink() or (d / 'link').symlink_to('../make.py')"
POOLS = {"cpu": ["light"], "gpu": ["heavy", "light"]}


def stage(shared: Path, name: str, *needs: str) -> dict:
    files = [f"{need}.txt" for need in needs]
    command = f"python make.py {shared} {name} {' '.join(files)}"
    return {"cmd": command, "deps": ["make.py", *files], "outs": [f"{name}.txt"]}


@pytest.fixture
def home(workspace: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The flow's folder: a git repository with a DVC remote, of which both workers have clones."""
    monkeypatch.delenv("CION_REPRODUCTION", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(project))
    shared, home = workspace / "shared", workspace / "home"
    shared.mkdir()
    home.mkdir()
    monkeypatch.chdir(home)
    stages = {
        "listing": {
            "cmd": f'python -c "{LISTED}"',
            "always_changed": True,
            "outs": [{"listed": {"cache": False}}],
        },
        "first": stage(shared, "first"),
        "heavy": stage(shared, "heavy", "first"),
        "light": stage(shared, "light", "first"),
        "last": stage(shared, "last", "heavy", "light"),
    }
    stages["heavy"]["deps"].append("listed")
    stages["heavy"]["params"] = ["steps"]
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    Path("params.yaml").write_text(
        yaml.safe_dump({"steps": {"many": 3}, "runtime": {"pools": POOLS}})
    )
    Path("make.py").write_text(STAGE)
    Path(".gitignore").write_text("/listed\n/*.txt\n.cion\n__pycache__\n")
    shutil.copy(project / "prefect.yaml", home)
    shutil.copytree(project / "flows", home / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "-q")
    dvc("init", "-q")
    dvc("remote", "add", "--default", "store", str(workspace / "store"))
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "the pipeline")
    for worker in ("cpu-box", "gpu-box"):
        git("clone", "-q", str(home), str(workspace / worker))
    return home


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def workers(home: Path) -> Iterator[dict[str, psutil.Popen]]:
    """The workers by their pools; all that is left of them is killed in the end."""
    running: dict[str, psutil.Popen] = {}
    yield running
    for worker in running.values():
        kill(worker)


def start_worker(workers: dict[str, psutil.Popen], home: Path, pool: str) -> None:
    with open(home.parent / f"{pool}.log", "a") as log:
        workers[pool] = psutil.Popen(
            [
                sys.executable,
                "-m",
                "prefect",
                "worker",
                "start",
                "--pool",
                pool,
                "--type",
                "process",
            ],
            cwd=home.parent / f"{pool}-box",
            stdout=log,
            stderr=log,
        )


def kill(worker: psutil.Popen) -> None:
    """As when a machine loses its power: nothing of it can say goodbye."""
    if not worker.is_running():
        return
    for process in [worker, *worker.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    worker.wait()


def start_flow(home: Path, *arguments: str) -> psutil.Popen:
    with open(home.parent / "flow.log", "a") as log:
        return psutil.Popen(
            [sys.executable, "-m", "flows.reproduce", "--retry-delay-seconds", "0", *arguments],
            stdout=log,
            stderr=log,
        )


def ran(home: Path) -> list[str]:
    path = home.parent / "shared/ran.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_stages_go_to_their_pools_and_a_lost_worker_is_replaced(
    home: Path, client: SyncPrefectClient, workers: dict[str, psutil.Popen]
) -> None:
    for pool in ("cpu", "gpu"):
        prefect("work-pool", "create", pool, "--type", "process")
    prefect("--no-prompt", "deploy", "--all")
    for pool in ("cpu", "gpu"):
        start_worker(workers, home, pool)
    shared = home.parent / "shared"
    (shared / "hold heavy").touch()

    flow = start_flow(home, "--lost-after-seconds", "90")

    def both_at_work() -> bool:
        assert flow.poll() is None, (home.parent / "flow.log").read_text()
        return "heavy in gpu-box" in ran(home) and "light in cpu-box" in ran(home)

    until(both_at_work, "both workers")
    kill(workers["gpu"])
    (shared / "hold heavy").unlink()
    start_worker(workers, home, "gpu")
    assert flow.wait(400) == 0, (home.parent / "flow.log").read_text()

    heavy = ["heavy in gpu-box"] * 2
    assert sorted(ran(home)) == ["first in home", *heavy, "last in home", "light in cpu-box"]
    assert Path("last.txt").read_text() == "last(heavy(first()), light(first()))"
    assert not (home.parent / "cpu-box/heavy.txt").exists(), "the other worker was not asked"
    sent = [run for run in client.read_flow_runs() if run.name == "heavy"]
    assert sorted(run.state.name for run in sent) == ["Completed", "Crashed"]
    assert "no sign of life" in next(
        run.state.message for run in sent if run.state.name == "Crashed"
    )
    _, tasks = last_run(client)
    assert tasks["heavy"].run_count == 2 and tasks["light"].run_count == 1

    before = ran(home)
    dvc("repro")
    assert ran(home) == before, "the flow's folder has computed again what the workers had made"
    assert dvc("status", "first", "heavy", "light", "last").strip().endswith("up to date.")
    assert start_flow(home).wait(400) == 0
    assert ran(home) == before
    assert len([run for run in client.read_flow_runs() if run.name == "heavy"]) == 2, (
        "sent though it was made"
    )


def test_a_folder_of_another_revision_is_named_before_anything_runs(
    home: Path, client: SyncPrefectClient, workers: dict[str, psutil.Popen]
) -> None:
    params = home.parent / "gpu-box/params.yaml"
    params.write_text(params.read_text().replace("many: 3", "many: 4"))
    start_worker(workers, home, "gpu")
    flow = start_flow(home, "heavy", "--retries", "0")
    assert flow.wait(240) == 1
    said = (home.parent / "flow.log").read_text()
    assert "is not what the flow runs. Different: params.yaml" in said.splitlines()[-1]
    assert ran(home) == ["first in home"]
