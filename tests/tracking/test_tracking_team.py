"""What a team's server needs: tokens, files over the network, one tree of runs for all."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.tracking.server import open_experiment, reproductions_name

RECORD = """
import sys
from cion_core import tracking
with tracking.run("pretrain", sys.argv[1], "k", {}) as run:
    run.metrics({"loss": 1.0}, step=0)
"""


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    """Passes what has the right Authorization on to the MLflow server; answers 401 to the rest."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") not in self.server.accepted:
            self._answer(401, b'{"error_code": "UNAUTHENTICATED", "message": "who are you?"}')
            return
        request = urllib.request.Request(
            self.server.behind + self.path, body or None, method=self.command
        )
        request.add_header("Content-Type", self.headers.get("Content-Type", "application/json"))
        try:
            with urllib.request.urlopen(request) as answer:
                self._answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = _pass

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def guarded(server) -> Iterator[str]:
    """The MLflow server behind a token, or a name and a password."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as door:
        door.behind = server.uri
        door.accepted = {"Bearer secret", "Basic " + base64.b64encode(b"ada:lovelace").decode()}
        threading.Thread(target=door.serve_forever).start()
        yield f"http://127.0.0.1:{door.server_port}"
        door.shutdown()


@pytest.fixture
def team(
    server, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowClient:
    """A client of the server, with an experiment of this test's own."""
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return MlflowClient(server.uri)


def runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name(
        f"{os.environ['MLFLOW_EXPERIMENT_NAME']} reproductions"
    )
    return client.search_runs([experiment.experiment_id]) if experiment else []


def record(name: str = "cion-tiny", file: str = "") -> None:
    with tracking.run("pretrain", name, "k", {"lr": 0.1}) as run:
        run.metrics({"loss": 1.0}, step=0)
        if file:
            run.artifact(file)


@pytest.mark.parametrize(
    "credentials",
    [{"TOKEN": "secret"}, {"USERNAME": "ada", "PASSWORD": "lovelace"}],
    ids=["token", "password"],
)
def test_behind_a_token_or_a_password(
    credentials: dict,
    guarded: str,
    team: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded)
    Path("plot.svg").write_text("<svg/>")
    record(file="plot.svg")
    said = capsys.readouterr().out
    assert said.count(
        "it wants MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME"
    ) == 1 and not runs(team)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong")
    with pytest.raises(CionError, match="it wants MLFLOW_TRACKING_TOKEN"):
        tracking.sync()

    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    for name, value in credentials.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    assert tracking.sync() == 1
    (run,) = runs(team)
    assert run.data.metrics["loss"] == 1.0 and run.info.status == "FINISHED"
    assert [file.path for file in team.list_artifacts(run.info.run_id)] == ["plot.svg"]


@pytest.fixture
def far_server(
    team: MlflowClient, server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A server that keeps files in a folder, and its folder, on another disk than ours."""
    hidden = tmp_path_factory.mktemp("far") / "artifacts"
    hidden.mkdir()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("this machine gives no process a view of its own of the disk")
    far = type(server)(tmp_path_factory.mktemp("far-server"))
    start = subprocess.Popen

    def elsewhere(command: list[str], **settings) -> subprocess.Popen:
        command = [*command, "--no-serve-artifacts", "--default-artifact-root", str(hidden)]
        script = f'mount -t tmpfs none {hidden} && exec "$@"'
        return start(["unshare", "-rm", "sh", "-c", script, "sh", *command], **settings)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "Popen", elsewhere)
        far.start()
    yield far.uri, hidden
    far.stop()


def test_no_file_goes_into_a_folder_that_the_server_does_not_see(
    far_server: tuple[str, Path], server, team: MlflowClient, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    uri, hidden = far_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    Path("plot.svg").write_text("<svg/>")
    record(file="plot.svg")
    said = capsys.readouterr().out
    assert (
        said.count("it takes no files over the network. Start it with --artifacts-destination") == 1
    )
    assert not list(hidden.rglob("plot.svg")), "the file lies where nobody looks for it"
    (run,) = runs(MlflowClient(uri))
    assert run.info.status == "FINISHED" and run.data.metrics["loss"] == 1.0, (
        "numbers need no folder"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert tracking.sync() == 1, "the file was kept"
    (run,) = runs(team)
    assert [file.path for file in team.list_artifacts(run.info.run_id)] == ["plot.svg"]


def test_machines_that_begin_one_reproduction_at_once_make_one_tree(
    team: MlflowClient,
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CION_REPRODUCTION", "tonight")
    environment = os.environ | {"PYTHONPATH": str(project)}
    machines = [
        subprocess.Popen(
            [sys.executable, "-c", RECORD, name], cwd=tmp_path_factory.mktemp(name), env=environment
        )
        for name in ("a", "b", "c")
    ]
    assert [machine.wait(300) for machine in machines] == [0, 0, 0]
    assert_one_tree(team, "tonight", ["pretrain a", "pretrain b", "pretrain c"])


def test_parents_that_two_machines_have_made_become_one(
    team: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if neither had seen the other's in time."""
    experiment = open_experiment(team, reproductions_name())
    for number, machine in enumerate(("a", "b")):
        parent = team.create_run(
            experiment, 1000 + number, {"cion.id": "tonight"}, "reproduction"
        ).info.run_id
        team.create_run(
            experiment,
            None,
            {"cion.id": machine, "mlflow.parentRunId": parent},
            f"pretrain {machine}",
        )
    monkeypatch.setenv("CION_REPRODUCTION", "tonight")
    record("c")
    assert_one_tree(team, "tonight", ["pretrain a", "pretrain b", "pretrain c"])


def assert_one_tree(client: MlflowClient, reproduction: str, children: list[str]) -> None:
    found = runs(client)
    (parent,) = [run for run in found if run.data.tags["cion.id"] == reproduction]
    below = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in below) == children
    assert len(found) == 1 + len(children)


@pytest.mark.parametrize("dep", ["data/crops", "data", "data/crops/a"])
def test_a_run_names_its_machine_and_the_data_that_it_went_by(
    dep: str, team: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    Path("dvc.yaml").write_text(
        "stages:\n  first: {cmd: 'mkdir -p data/crops && echo 1 > data/crops/a', outs: "
        f"[data/crops]}}\n  second: {{cmd: 'true', deps: [{dep}]}}\n"
    )
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "first"], check=True)
    monkeypatch.setenv("DVC_STAGE", "second")
    record()
    (run,) = runs(team)
    (given,) = run.inputs.dataset_inputs
    made = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["first"]["outs"]
    assert (given.dataset.name, given.dataset.digest) == ("crops", made[0]["md5"][:8])
    assert run.data.tags["cion.machine"] and run.data.metrics["system/process_memory_megabytes"] > 0
