"""The flow with other settings: an experiment of DVC's, beside the folder and not in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.api import params_show, read
from prefect.client.orchestration import SyncPrefectClient
from server_asked import last_run, said, until

from flows.reproduce import parse_change

WRITE = """
import json, pathlib, yaml
asked = yaml.safe_load(pathlib.Path('params.yaml').read_text())
assert asked['sizes'] != [], 'sizes: none'
out = pathlib.Path('data/reports/comparison.json')
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps([{'model': asked['name'], 'sizes': sum(asked['sizes'])}]))
"""


@pytest.fixture
def committed(workspace: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of one stage, whose comparison git tracks, run and committed."""
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.delenv("CION_REPRODUCTION", raising=False)
    Path("write.py").write_text(WRITE)
    Path("params.yaml").write_text(yaml.safe_dump({"name": "small", "sizes": [1, 2]}))
    Path(".gitignore").write_text(".cion\n")
    stage = {
        "cmd": "python write.py", "params": ["name", "sizes"],
        "metrics": [{"data/reports/comparison.json": {"cache": False}}],
    }  # fmt: skip
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"compare": stage}}))
    command("git", "init", "-q")
    command(sys.executable, "-m", "dvc", "init", "-q")
    command(sys.executable, "-m", "dvc", "repro", "-q")
    command("git", "add", "-A")
    command(
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "commit",
        "-qm",
        "the pipeline",
    )
    return workspace


def command(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reproduce(*arguments: str) -> subprocess.CompletedProcess:
    known = os.environ | {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
    known |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}
    return subprocess.run(
        [sys.executable, "-m", "flows.reproduce", "--retries", "0", *arguments],
        env=known, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_other_settings_are_an_experiment_and_leave_the_folder_as_it_is(
    committed: Path, client: SyncPrefectClient
) -> None:
    done = reproduce("--set", "sizes=[4, 5]", "--set", "name=large one")
    assert done.returncode == 0, done.stderr
    assert command("git", "status", "--porcelain") == ""
    run, tasks = last_run(client)
    ((name, task),) = tasks.items()
    assert run.state.is_completed() and name.startswith(f"{run.name}-")
    assert params_show(rev=name) == {"name": "large one", "sizes": [4, 5]}
    assert json.loads(read("data/reports/comparison.json", rev=name)) == [
        {"model": "large one", "sizes": 9}
    ]
    (table,) = [artifact for artifact in client.read_artifacts() if artifact.type == "table"]
    assert table.flow_run_id == run.id and "large one" in table.data
    until(lambda: f"dvc exp apply {name}" in said(client, task), "the log of the experiment")
    assert name in command(sys.executable, "-m", "dvc", "exp", "list", "--name-only")

    done = reproduce("--set", "sizes=[]")
    assert done.returncode == 1 and "sizes: none" in done.stderr
    assert command("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [("600", 600), ("[cion, dino]", ["cion", "dino"]), ("null", None), ("a=b", "a=b"), ("", None)],
)
def test_a_setting_is_read_as_params_yaml_would_read_it(text: str, value: object) -> None:
    assert parse_change(f"pretrain.steps={text}") == ("pretrain.steps", value)


def test_a_setting_without_a_value_is_told(workspace: Path, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.reproduce", "--set", "pretrain.steps"],
        env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (
        done.returncode == 2
        and "not of the form KEY=VALUE, such as pretrain.steps=600" in done.stderr
    )
