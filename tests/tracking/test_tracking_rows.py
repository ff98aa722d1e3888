"""The comparison on a real MLflow server: a row per model, renewed, and views in a browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.tracking import ModelRow, rows, views

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def row(
    method: str, mean_ap: float, benchmark: str = "demo", data: str = "d" * 32, slope: float = 0.1
) -> ModelRow:
    """A model with a learning curve of 1200 steps, more than MLflow takes at once."""
    what = {
        "method": method,
        "backbone": "tiny",
        "benchmark": benchmark,
        "setting": "frozen",
        "recipe": "",
        "data": data,
    }
    metrics = {
        "mAP": mean_ap,
        "Rank-1": 2 * mean_ap,
        "mINP": mean_ap / 2,
        "parameters": 5e6,
        "FLOPs": 2e8,
        "seed": 0.0,
    }
    curve = [[step, 7 - slope * step] for step in range(1200)]
    data = {"data/raw": data, f"data/benchmark/{benchmark}": "b" * 32}
    return ModelRow(
        f"{method} tiny frozen on {benchmark}", what, metrics, {"pre-training loss": curve}, data
    )


@pytest.fixture
def client(
    server, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowClient:
    """A client of the server, with an experiment of this test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return MlflowClient(server.uri)


def experiment(client: MlflowClient):
    return client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])


def listed(client: MlflowClient, kind: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """The runs as MLflow's interface lists them by default: what was made last comes first."""
    return client.search_runs([experiment(client).experiment_id], run_view_type=kind)


def view(client: MlflowClient, benchmark: str) -> dict:
    """What the interface reads of a view."""
    saved = json.loads(
        experiment(client).tags[f"mlflow.sharedViewState.{views.view_key(benchmark)}"]
    )
    assert saved["name"] == f"models on {benchmark}" and saved["createdAt"] > 0
    kind, packed = saved["state"].split(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_models_are_flat_rows_of_an_experiment_of_their_own(client: MlflowClient, server) -> None:
    tracking.show_models(
        [row("lup", 3.5), row("cion", 9.5), row("dino", 5.0), row("cion", 8.0, "night.2")]
    )
    found = experiment(client)
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"
    names = ["cion tiny frozen on demo", "cion tiny frozen on night.2", "dino tiny frozen on demo"]
    assert [run.info.run_name for run in listed(client)] == [*names, "lup tiny frozen on demo"], (
        "the best first"
    )
    page = f"#/experiments/{found.experiment_id}/runs?viewStateShareKey=cion-demo&workflowType=machine_learning"
    assert (
        f"Best: [cion tiny frozen on demo, mAP 9.5]({page}); [" in found.tags["mlflow.note.content"]
    )
    best = listed(client)[0]
    assert best.info.status == "FINISHED" and "mlflow.parentRunId" not in best.data.tags
    assert best.data.params == dict(row("cion", 9.5).params)
    assert best.data.metrics == {**row("cion", 9.5).metrics, "pre-training loss": 7 - 0.1 * 1199}
    history = client.get_metric_history(best.info.run_id, "pre-training loss")
    assert sorted((one.step, one.value) for one in history) == [
        (step, 7 - 0.1 * step) for step in range(1200)
    ]
    sets = {one.dataset.name: one.dataset for one in best.inputs.dataset_inputs}
    assert set(sets) == {"raw", "benchmark/demo"} and sets["raw"].digest == "d" * 8
    assert json.loads(sets["raw"].source) == {"path": "data/raw", "hash": "d" * 32}
    assert tracking.comparison_link() == f"{server.uri}/{page}"
    assert not list(Path(".cion/tracking").glob("**/rows.json")), "what is sent need not be kept"


@pytest.mark.parametrize(
    ("benchmark", "methods"), [("demo", ["cion", "dino"]), ("night.2", ["lup"])]
)
def test_a_view_finds_the_rows_of_its_benchmark_and_shows_what_they_have(
    client: MlflowClient, benchmark: str, methods: list[str]
) -> None:
    tracking.show_models([row("dino", 5.0), row("cion", 9.5), row("lup", 20.0, "night.2")])
    seen = view(client, benchmark)
    order = [f"{seen['orderByKey']} {'ASC' if seen['orderByAsc'] else 'DESC'}"]
    found = client.search_runs(
        [experiment(client).experiment_id], seen["searchFilter"], order_by=order
    )
    assert [run.data.params["method"] for run in found] == methods
    there = (
        {"params.`recipe`"}
        | {f"metrics.`{name}`" for name in found[0].data.metrics}
        | {f"params.`{n}`" for n in found[0].data.params}
    )
    assert set(seen["selectedColumns"]) <= there and "metrics.`FLOPs`" in seen["selectedColumns"]
    assert (
        seen["columnOrder"]
        == list(seen["columnWidths"])
        == ["attributes.`Run Name`", *seen["selectedColumns"]]
    )
    charts = {(chart["type"], chart["displayName"]) for chart in seen["compareRunCharts"]}
    assert charts == {
        ("BAR", "mAP"),
        ("BAR", "Rank-1"),
        ("BAR", "mINP"),
        ("PARALLEL", "what makes the difference"),
        ("SCATTER", "mAP against parameters"),
        ("SCATTER", "mAP against FLOPs"),
        ("LINE", "pre-training loss"),
    }
    sections = {section["uuid"] for section in seen["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in seen["compareRunCharts"]} <= sections


def test_a_second_comparison_renews_rows_and_adds_none(client: MlflowClient) -> None:
    tracking.show_models([row("cion", 9.5), row("dino", 5.0)])
    first = {run.data.params["method"]: run for run in listed(client)}
    tracking.show_models([row("cion", 9.5), row("dino", 6.5)])
    again = {run.data.params["method"]: run for run in listed(client)}
    assert len(listed(client)) == 2 and again["dino"].data.metrics["mAP"] == 6.5
    assert {run.info.run_id for run in again.values()} == {
        run.info.run_id for run in first.values()
    }

    # It was trained anew, so its curve is another one.
    tracking.show_models([row("cion", 9.5), row("dino", 6.0, slope=0.2)])
    anew = {run.data.params["method"]: run for run in listed(client)}
    assert len(listed(client)) == 2 and anew["cion"].info.run_id == first["cion"].info.run_id
    history = client.get_metric_history(anew["dino"].info.run_id, "pre-training loss")
    assert len(history) == 1200 and min(one.value for one in history) == 7 - 0.2 * 1199
    (gone,) = listed(client, ViewType.DELETED_ONLY)
    assert gone.info.run_id == first["dino"].info.run_id, "it can be restored"


def test_what_a_comparison_no_longer_has_is_named_an_earlier_result(client: MlflowClient) -> None:
    other = "e" * 32
    tracking.show_models([row("cion", 9.5), row("dino", 5.0)])
    tracking.show_models([row("cion", 7.0, data=other)])
    names = [
        "cion tiny frozen on demo",
        "cion tiny frozen on demo (earlier)",
        "dino tiny frozen on demo (earlier)",
    ]
    assert sorted(run.info.run_name for run in listed(client)) == names
    query = view(client, "demo")["searchFilter"]
    (shown,) = client.search_runs([experiment(client).experiment_id], query)
    assert shown.data.params["data"] == other

    tracking.show_models([row("cion", 9.5), row("dino", 5.0)])
    assert len(listed(client)) == 3
    found = client.search_runs(
        [experiment(client).experiment_id], query, order_by=["metrics.mAP DESC"]
    )
    assert [run.info.run_name for run in found] == [
        "cion tiny frozen on demo",
        "dino tiny frozen on demo",
    ]
    tracking.show_models([row("cion", 9.5)])
    tracking.show_models([row("cion", 9.5)])
    assert sorted(run.info.run_name for run in listed(client)) == [names[0], names[1], names[2]]


def test_rows_that_could_not_be_sent_go_later_and_the_latest_alone(
    client: MlflowClient, server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    tracking.show_models([row("dino", 5.0)])
    tracking.show_models([row("cion", 9.5)])
    assert capsys.readouterr().out.count("does not take this comparison") == 2
    assert tracking.comparison_link() == "http://127.0.0.1:1/"
    with pytest.raises(CionError, match="0 runs sent, 1 not"):
        tracking.sync()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert tracking.sync() == 1
    assert tracking.sync() == 0
    assert [run.data.params["method"] for run in listed(client)] == ["cion"]


def test_a_row_that_was_sent_in_part_is_sent_whole(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = MlflowClient.log_batch, []

    def breaks(*arguments, **named) -> None:
        calls.append(named)
        if len(calls) == 3:  # params, a thousand points; the others never come
            raise OSError("the cable is out")
        whole(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", breaks)
        tracking.show_models([row("cion", 9.5)])
    assert rows.are_waiting() and len(listed(client)) == 1
    assert tracking.sync() == 1
    (run,) = listed(client)
    assert run.data.metrics["mAP"] == 9.5
    assert len(client.get_metric_history(run.info.run_id, "pre-training loss")) == 1200


def test_an_experiment_that_somebody_else_has_made_opens_as_model_training(
    client: MlflowClient,
) -> None:
    client.create_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
    tracking.show_models([row("cion", 9.5)])
    assert experiment(client).tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_opens_the_comparison_sorted_by_map(
    client: MlflowClient, until: Callable, tmp_path: Path
) -> None:
    """Behind the link: the models in the order of their mAP, and the names of the columns."""
    tracking.show_models(
        [row("dino", 5.25), row("cion", 9.5), row("lup", 3.75), row("cion", 77.5, "elsewhere")]
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--window-size=1900,900",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=60000",
        "--dump-dom",
        tracking.comparison_link(),
    ]
    page = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    places = [page.find(f">{value}<") for value in ("9.5", "5.25", "3.75")]
    assert -1 not in places and places == sorted(places)
    assert ">77.5<" not in page, "another benchmark's"
    for column in ("mAP", "Rank-1", "FLOPs", "parameters"):
        assert f">{column}<" in page
