"""Servers and stores that fail in every way: no run raises, each warns once, nothing is lost."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.models import Model

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.tracking import upload


class Faulty(http.server.BaseHTTPRequestHandler):
    """Answers every request with the server's status and body; a status of 0 does not answer."""

    def _answer(self) -> None:
        status, body = self.server.answer
        if status == 0:
            self.server.released.wait()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def faulty() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        server.released = threading.Event()
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.released.set()
        server.shutdown()


def record(capsys: pytest.CaptureFixture) -> str:
    """One short run; what was printed meanwhile."""
    with tracking.run("pretrain", "cion-tiny", "k", {"lr": 0.1}) as run:
        run.metrics({"loss": 1.0}, step=0)
    return capsys.readouterr().out


def kept() -> dict:
    (path,) = Path(".cion/tracking").glob("*/run.json")
    (line,) = [
        json.loads(line) for line in (path.parent / "metrics.jsonl").open() if "loss" in line
    ]
    assert line["metrics"] == {"loss": 1.0}
    return json.loads(path.read_text())


ANSWERS = {
    "500": (500, b"oh dear"),
    "503": (503, b""),
    "a proxy's page": (200, b"<html>please log in</html>"),
    "JSON of something else": (200, b'{"hello": ["world"]}'),
    "JSON of the wrong kind": (200, b"[1, 2]"),
    "fields of another version": (200, b'{"experiment": 7}'),
    "not found": (404, b"no such endpoint"),
    "silence": (0, b""),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_answers_wrongly(
    answer: str, faulty, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    faulty.answer = ANSWERS[answer]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{faulty.server_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    assert record(capsys).count("cion track sync") == 1
    assert kept()["status"] == "FINISHED"
    with pytest.raises(CionError, match=r"0 runs sent, 1 not: MLflow at http://127\.0\.0\.1"):
        tracking.sync()
    assert kept()


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1", "http://no.such.host.invalid", "sqlite:///garbage.db/mlflow.db",
            "sqlite:///garbage.db", "postgresql://nobody@127.0.0.1:1/mlflow", "nonsense://somewhere"]
)  # fmt: skip
def test_a_store_that_is_not_there(
    uri: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("garbage.db").write_bytes(b"this is no database" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert record(capsys).count("cion track sync") == 1
    assert kept()["status"] == "FINISHED"


def test_what_failed_goes_to_the_store_that_is_named_later(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    record(capsys)
    record(capsys)  # the same key again: a second run, since the first had finished
    assert len(list(Path(".cion/tracking").glob("*/"))) == 2
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.sync() == 2
    client = MlflowClient("sqlite:///mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("cion reproductions").experiment_id])
    assert [(run.info.status, run.data.metrics["loss"]) for run in found] == [("FINISHED", 1.0)] * 2
    assert not list(Path(".cion/tracking").glob("*/"))


def test_a_bug_of_ours_is_raised(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def upload_run(*arguments: object) -> bool:
        return 1 / 0

    monkeypatch.setattr(upload, "upload_run", upload_run)
    with pytest.raises(ZeroDivisionError), tracking.run("pretrain", "cion-tiny", "k", {}):
        pass


def test_a_stage_that_fails_raises_its_own_error(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with (
        pytest.raises(CionError, match="loss is not finite"),
        tracking.run("pretrain", "cion-tiny", "k", {}) as run,
    ):
        run.metrics({"loss": 1.0}, step=0)
        raise CionError("loss is not finite at step 7")
    assert kept()["status"] == "FAILED"


class Moody(torch.nn.Module):
    """No graph holds this forward."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


def test_a_model_that_cannot_be_exported_is_pickled(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with tracking.run("pretrain", "cion-tiny", "k", {}) as run:
        run.model(Moody().eval(), np.ones((1, 3, 4, 2), np.float32), {"backbone": "moody"})
    assert "torch.export does not take this model" in capsys.readouterr().out
    (saved,) = Path(".cion/tracking").glob("*/model/MLmodel")
    assert Model.load(str(saved)).signature.inputs.inputs[0].shape == (-1, 3, 4, 2)


def test_the_environment_of_the_user_wins(place: Path) -> None:
    code = (
        "import os; from cion_core import tracking; "
        "print(os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    )
    for given, expected in (({}, "10"), ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "77"}, "77")):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean | given, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected
