"""A person's acts in Prefect's interface reach the stages: pause, resume, cancel, time limit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelling, Paused
from server_asked import prefect, said, until

from flows.commands import StageFailed, run

# A stage that goes on while the file `hold` is there. DVC runs each line of a `cmd` by itself, so
# it is a file.
HELD = """
import sys
import time
from pathlib import Path

name = sys.argv[1]
Path(f"{name} began").touch()
while Path("hold").exists():
    time.sleep(0.1)
Path(name).touch()
"""


@pytest.fixture
def deployed(
    workspace: Path, project: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[UUID]:
    """A project of two stages that are held, `nightly` deployed for it, and a running worker."""
    monkeypatch.setenv("PYTHONPATH", str(project))
    stages = {
        "one": {"cmd": "python held.py one", "outs": ["one"]},
        "two": {"cmd": "python held.py two", "deps": ["one"], "outs": ["two"]},
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("held.py").write_text(HELD)
    Path("hold").touch()
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    shutil.copy(project / "prefect.yaml", workspace)
    shutil.copytree(project / "flows", workspace / "flows")
    for pool in ("cpu", "gpu"):
        subprocess.run(
            [sys.executable, "-m", "prefect", "work-pool", "create", pool, "--type", "process"]
        )
    prefect("--no-prompt", "deploy", "--all")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cpu"]
    with open("worker.log", "w") as log:
        worker = psutil.Popen(command, stdout=log, stderr=log)
    yield client.read_deployment_by_name("reproduce/nightly").id
    for process in [worker, *worker.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    worker.wait()


def named_in_command(word: str) -> list[psutil.Process]:
    """The processes at work in this folder that have a word in their command."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        is_here = process.info["cwd"] == os.getcwd()
        if is_here and any(word in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.mark.slow
def test_a_paused_flow_begins_no_stage_until_it_is_resumed(
    deployed: UUID, client: SyncPrefectClient
) -> None:
    flow = client.create_flow_run_from_deployment(deployed).id
    until(lambda: Path("one began").exists(), "the first stage")
    client.set_flow_run_state(flow, Paused(timeout_seconds=600))
    Path("hold").unlink()

    def told() -> bool:
        return any(
            "paused: the next stage" in said(client, task) for task in client.read_task_runs()
        )

    until(told, "the flow to notice")
    assert Path("one").exists() and not Path("two began").exists()
    client.resume_flow_run(flow)
    until(lambda: client.read_flow_run(flow).state.is_final(), "the flow to end")
    assert client.read_flow_run(flow).state.is_completed() and Path("two").exists()


@pytest.mark.slow
def test_a_cancelled_flow_leaves_no_process(
    deployed: UUID, client: SyncPrefectClient, workspace: Path
) -> None:
    flow = client.create_flow_run_from_deployment(deployed).id
    until(lambda: Path("one began").exists(), "the first stage")
    assert named_in_command("held.py")
    client.set_flow_run_state(flow, Cancelling())
    until(lambda: client.read_flow_run(flow).state.is_cancelled(), "the flow to be cancelled")
    until(lambda: not named_in_command("held.py"), "the stage to end")
    assert not Path("one").exists()


def test_a_command_that_takes_too_long_is_ended_with_all_below_it(
    workspace: Path, project: Path
) -> None:
    lines: list[str] = []
    code = (
        "import subprocess, sys; print('at work', flush=True); subprocess.run(['sleep', '987.5'])"
    )
    Path("slow_module.py").write_text(code)
    with pytest.raises(
        StageFailed, match=r"slow_module: ended after 0\.05 minutes, its limit\nat work"
    ):
        run(["slow_module"], lines.append, {"PYTHONPATH": os.getcwd()}, timeout_minutes=0.05)
    assert lines == ["at work"] and not named_in_command("987.5")


def test_a_dead_server_is_told_in_three_lines(workspace: Path, project: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.reproduce"], env=environment, capture_output=True, text=True
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 1 and len(lines) == 3, lines
    assert "no Prefect server at http://127.0.0.1:9/api" in lines[0] and "make prefect" in lines[1]
