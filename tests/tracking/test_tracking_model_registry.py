"""Exported models in a real MLflow registry, and what becomes a benchmark's champion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient, pyfunc
from typer.testing import CliRunner

from cion_core import tracking, work, zoo
from cion_core.cli import app
from cion_core.errors import CionError
from cion_core.tracking import model_registry
from cion_core.zoo import Card


@pytest.fixture
def client(
    server, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowClient:
    """A client of the server, with an experiment and a registered model of this test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setattr(model_registry, "NAME", request.node.name)
    return MlflowClient(server.uri)


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)
    ).eval()


def card(**metrics: float) -> dict:
    """A card with an mAP per benchmark."""
    return {
        "name": "tiny",
        "backbone": "tiny",
        "metrics": {name: {"mAP": value} for name, value in metrics.items()},
    }


@pytest.mark.parametrize(
    ("mean_ap", "champion", "wrong", "passes"),
    [
        (10.0, None, [], True),
        (10.0, 9.0, [], True),
        (10.0, 10.0, [], False),
        (9.0, 10.0, [], False),
        (float("nan"), 1.0, [], False),
        (99.0, None, ["these weights did nothing"], False),
    ],
)
def test_the_gate_asks_for_a_better_and_sane_model(
    mean_ap: float, champion: float | None, wrong: list[str], passes: bool
) -> None:
    assert (model_registry.find_refusal(mean_ap, champion, wrong) is None) == passes


def test_champions_move_only_through_the_gate(client: MlflowClient) -> None:
    def champion(benchmark: str) -> str:
        return client.get_model_version_by_alias(
            model_registry.NAME, model_registry.champion_alias(benchmark)
        ).version

    model = network()
    first = model_registry.register(model, (8, 4), card(demo=10.0, market=50.0), "a" * 64, [])
    assert first.champion_of == ["demo", "market"] and first.refused == {}
    assert champion("demo") == champion("market") == first.version

    better = model_registry.register(network(1), (8, 4), card(demo=11.0, market=49.0), "b" * 64, [])
    assert (
        better.champion_of == ["demo"]
        and "49.00 is not above the champion's 50.00" in better.refused["market"]
    )
    assert (champion("demo"), champion("market")) == (better.version, first.version)

    insane = model_registry.register(
        network(2), (8, 4), card(demo=99.0), "c" * 64, ["these weights did nothing"]
    )
    assert insane.champion_of == [] and insane.refused == {"demo": "these weights did nothing"}
    assert champion("demo") == better.version

    again = model_registry.register(network(1), (8, 4), card(demo=11.0), "b" * 64, [])
    assert again.version == better.version and champion("demo") == better.version
    assert len(client.search_model_versions(f"name = '{model_registry.NAME}'")) == 3

    loaded = pyfunc.load_model(client.get_model_version(model_registry.NAME, first.version).source)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 8, 4)
    assert loaded.metadata.metadata == card(demo=10.0, market=50.0)
    images = np.random.default_rng(0).random((3, 3, 8, 4), np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(
            loaded.predict(images), model(torch.from_numpy(images)), rtol=1e-5
        )


def test_the_run_that_trained_a_model(client: MlflowClient) -> None:
    with tracking.run("pretrain", "cion-tiny", "k", {"lr": 0.1}) as record:
        record.metrics({"loss": 1.0})
    found = model_registry.find_training_run("pretrain", "cion-tiny")
    assert client.get_run(found).data.tags["cion.id"] == record.about["id"]
    assert model_registry.find_training_run("finetune", "cion-tiny") == ""


def test_the_register_command_registers_what_fails_the_gate(client: MlflowClient) -> None:
    """A model of random weights is exported and registered.

    It does not pass the gate, whatever its mAP.
    """
    folder, card = (
        Path("data/pretrain/cion-resnet10_ibn"),
        Card("resnet10_ibn", "x", (64, 32), (0.5,) * 3, (0.2,) * 3, 256),
    )
    zoo.save(
        folder,
        zoo.create_model("resnet10_ibn", (64, 32)),
        replace(card, metrics={"demo": {"mAP": 99.0}}),
    )
    done = CliRunner().invoke(app, ["export", str(folder), "--to", "safetensors", "--register"])
    assert done.exit_code == 0, done.output
    assert "not champion of demo: these weights did nothing" in done.output
    (version,) = client.search_model_versions(f"name = '{model_registry.NAME}'")
    assert version.tags["cion.weights"] == work.sha256(folder / "model.safetensors")
    assert Path("exports/cion-resnet10_ibn/card.json").exists()


def test_without_a_server_no_run_is_found_and_no_model_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        model_registry.find_training_run("pretrain", "cion-tiny") == ""
        and not Path("mlflow.db").exists()
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert model_registry.find_training_run("pretrain", "cion-tiny") == ""
    with pytest.raises(CionError, match="does not take the model"):
        model_registry.register(network(), (8, 4), card(demo=1.0), "a" * 64, [])
