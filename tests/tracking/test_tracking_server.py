"""Runs on a real MLflow server: what arrives, and what survives when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient, pyfunc
from mlflow.entities import Run

from cion_core import tracking
from cion_core.errors import CionError

KILLED = """
import os, signal, sys, time
from pathlib import Path
from cion_core import tracking
tracking.UPLOAD_SECONDS = 0.1
with tracking.run("pretrain", "cion-tiny", "k", {"lr": 0.1}) as run:
    for step in range(6):
        run.metrics({"loss": 10 - step, "lr": 0.1}, step=step)
    while not Path("kill me").exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def client(
    server, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowClient:
    """A client of the server, with an experiment of this test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setattr(tracking, "UPLOAD_SECONDS", 0.1)
    return MlflowClient(server.uri)


def runs(client: MlflowClient) -> dict[str, Run]:
    """This test's runs by name, parents by the reproduction's; none may come twice."""
    experiment = client.get_experiment_by_name(
        f"{os.environ['MLFLOW_EXPERIMENT_NAME']} reproductions"
    )
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    named = {
        run.data.tags["cion.id"] if "reproduction" in run.info.run_name else run.info.run_name: run
        for run in found
    }
    assert len(named) == len(found)
    return named


def history(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return sorted(
        (metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)
    )


def table(client: MlflowClient, run: Run, name: str) -> list[dict]:
    return client.load_table(run.info.experiment_id, name, [run.info.run_id]).to_dict("records")


def test_all_of_a_run_arrives(
    client: MlflowClient,
    until: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setenv("CION_REPRODUCTION", "tonight")
    model = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)
    ).eval()
    Path("plot.svg").write_text("<svg/>")
    params = {"lr": 0.1, "head": {"out": 4, "sizes": [1, 2]}, "long": "x" * 9000}
    with tracking.run("pretrain", "cion-tiny", "k1", params, tags={"method": "cion"}) as run:
        for step in range(1200):
            run.metrics({"loss": 1 / (step + 1), "lr": 0.1}, step=step)
        until(lambda: len(runs(client)) == 2, "the run and its parent to appear while it is live")
        live = runs(client)["pretrain cion-tiny"]
        until(lambda: len(history(client, live, "loss")) == 1200, "the loss curve of a live run")
        assert live.info.status == "RUNNING"
        run.artifact("plot.svg", folder="plots")
        run.table(
            [{"setting": "frozen", "mAP": 10.5}, {"setting": "finetuned", "mAP": 20.0}],
            "evaluation.json",
        )
        run.model(model, np.zeros((1, 3, 8, 4), np.float32), {"backbone": "tiny"})

    run = runs(client)["pretrain cion-tiny"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "lr": "0.1",
        "head.out": "4",
        "head.sizes": "[1, 2]",
        "long": "x" * 6000,
    }
    assert run.data.tags["cion.stage"] == "pretrain" and run.data.tags["cion.key"] == "k1"
    assert run.data.tags["cion.name"] == "cion-tiny" and run.data.tags["method"] == "cion"
    assert history(client, run, "loss") == [(step, 1 / (step + 1)) for step in range(1200)]
    assert history(client, run, "system/process_memory_megabytes")[0][1] > 10
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == [
        "plots/plot.svg"
    ]
    assert table(client, run, "evaluation.json")[0]["mAP"] == 10.5

    (output,) = run.outputs.model_outputs
    loaded = pyfunc.load_model(client.get_logged_model(output.model_id).artifact_location)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 8, 4)
    assert loaded.metadata.signature.outputs.inputs[0].shape == (-1, 4)
    assert (
        loaded.metadata.metadata == {"backbone": "tiny"}
        and loaded.metadata.run_id == run.info.run_id
    )
    images = np.random.default_rng(0).random((5, 3, 8, 4), np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(
            loaded.predict(images), model(torch.from_numpy(images)), rtol=1e-5
        )

    parent = runs(client)["tonight"]
    assert (
        run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        and parent.info.status == "RUNNING"
    )
    Path("index.html").write_text("<h1>the report</h1>")
    numbers = {"demo/frozen/cion-tiny/mAP": 10.5, "elsewhere/adapted.2/cion-tiny/mAP": 20.0}
    tracking.close_parent_run(
        [{"method": "cion", "mAP": 10.5}], Path("index.html"), numbers, "- Best: **cion**"
    )
    parent = runs(client)["tonight"]
    assert numbers.items() <= parent.data.metrics.items()
    assert parent.data.tags["mlflow.note.content"] == "- Best: **cion**"
    assert parent.info.status == "FINISHED" and "mlflow.parentRunId" not in parent.data.tags
    assert table(client, parent, "comparison.json") == [{"method": "cion", "mAP": 10.5}]
    kept = client.download_artifacts(
        parent.info.run_id, "index.html", str(tmp_path_factory.mktemp("kept"))
    )
    assert Path(kept).read_text() == "<h1>the report</h1>"
    assert not list(Path(".cion/tracking").glob("*/")), "what is sent need not be kept"


def test_a_killed_run_goes_on(
    client: MlflowClient, until: Callable, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CION_REPRODUCTION", "first night")
    environment = os.environ | {"PYTHONPATH": str(project)}
    with subprocess.Popen([sys.executable, "-c", KILLED], env=environment) as process:
        until(lambda: "pretrain cion-tiny" in runs(client) or process.poll() is not None, "the run")
        killed = runs(client)["pretrain cion-tiny"]
        until(lambda: len(history(client, killed, "loss")) == 6, "its losses")
        assert tracking.sync() == 0, "a live run is left to itself"
        Path("kill me").touch()
    assert process.returncode == -signal.SIGKILL

    assert tracking.sync() == 1
    assert runs(client)["pretrain cion-tiny"].info.status == "KILLED"
    monkeypatch.setenv("CION_REPRODUCTION", "second night")
    with tracking.run("pretrain", "cion-tiny", "k", {"lr": 0.1, "device": "cpu"}) as run:
        for step in range(3, 9):  # its last checkpoint was before step 3
            run.metrics({"loss": 10 - step, "lr": 0.1}, step=step)
    found = runs(client)
    assert set(found) == {"pretrain cion-tiny", "first-night", "second-night"}
    run = found["pretrain cion-tiny"]
    assert run.info.run_id == killed.info.run_id and run.info.status == "FINISHED"
    assert history(client, run, "loss") == [(step, 10 - step) for step in range(9)]
    assert run.data.params == {"lr": "0.1", "device": "cpu"}
    assert run.data.tags["mlflow.parentRunId"] == found["second-night"].info.run_id
    assert (
        found["first-night"].info.status == "KILLED"
        and found["second-night"].info.status == "RUNNING"
    )


def test_a_server_that_dies_loses_nothing(
    server,
    client: MlflowClient,
    until: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("CION_REPRODUCTION", "stormy")
    Path("history.csv").write_text("step,loss\n")
    with tracking.run("finetune", "cion-tiny", "k", {"lr": 0.1}) as run:
        for step in range(5):
            run.metrics({"loss": step}, step=step)
        until(
            lambda: runs(client) and history(client, runs(client)["finetune cion-tiny"], "loss"),
            "the first losses",
        )
        server.stop()
        until(lambda: "cion track sync" in capsys.readouterr().out, "the warning")
        for step in range(5, 10):
            run.metrics({"loss": step}, step=step)
        run.artifact("history.csv")
        run.table([{"mAP": 1.0}], "evaluation.json")
    tracking.close_parent_run([{"mAP": 1.0}])
    with pytest.raises(CionError, match="0 runs sent, 2 not"):
        tracking.sync()

    server.start()
    assert tracking.sync() == 2
    assert tracking.sync() == 0
    found = runs(client)
    assert set(found) == {"finetune cion-tiny", "stormy"}
    run = found["finetune cion-tiny"]
    assert history(client, run, "loss") == [(step, step) for step in range(10)]
    assert run.info.status == found["stormy"].info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == found["stormy"].info.run_id
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == [
        "evaluation.json",
        "history.csv",
    ]
    assert len(table(client, run, "evaluation.json")) == 1


def test_a_run_deleted_on_the_server_is_sent_anew(client: MlflowClient, until: Callable) -> None:
    with pytest.raises(RuntimeError), tracking.run("finetune", "cion-tiny", "k", {}) as run:
        run.metrics({"loss": 1.0}, step=0)
        raise RuntimeError("out of power")
    first = runs(client)["finetune cion-tiny"]
    assert first.info.status == "FAILED"
    client.delete_run(first.info.run_id)
    with tracking.run("finetune", "cion-tiny", "k", {}) as run:
        run.metrics({"loss": 2.0}, step=1)
    again = runs(client)["finetune cion-tiny"]
    assert again.info.run_id != first.info.run_id
    assert history(client, again, "loss") == [(0, 1.0), (1, 2.0)]
