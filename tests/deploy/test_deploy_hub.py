"""A folder for the hub: a card that its library reads, and weights that load under any name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from cion_core import zoo
from cion_core.cli import app
from cion_core.deploy import hub
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.zoo import Card
from cion_core.zoo import hub as hub_files

METRICS = {"demo": {"mAP": 81.234, "rank1": 90.5, "mINP": 50.0, "queries": 7}}


@pytest.fixture
def published(folder: Path, tmp_path: Path) -> tuple[Path, Card]:
    network, card = zoo.load(folder)
    card = replace(
        card, name="people", licence="Apache-2.0", data="abc", revision="v1", metrics=METRICS
    )
    hub.write_folder(network, card, tmp_path / "out")
    return tmp_path / "out", card


def test_the_folder_has_what_the_hub_wants(published: tuple[Path, Card]) -> None:
    out, card = published
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "card.json",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((out / "config.json").read_text())
    assert (config["architecture"], config["num_features"]) == (card.backbone, 256)
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 32]


def test_the_card_is_read_by_the_hubs_own_library(published: tuple[Path, Card]) -> None:
    out, _ = published
    read = ModelCard.load(out / "README.md")
    assert (read.data.license, read.data.library_name, read.data.model_name) == (
        "apache-2.0",
        "cion",
        "people",
    )
    found = {
        one.metric_name: (one.dataset_name, one.metric_value) for one in read.data.eval_results
    }
    assert found == {"mAP": ("demo", 81.23), "rank1": ("demo", 90.5), "mINP": ("demo", 50.0)}
    for heading in ("## Results", "## Data", "## Intended use", "## Limits", "## Licence"):
        assert heading in read.text
    assert (
        "| demo" in read.text
        and "81.2" in read.text
        and "`abc`" in read.text
        and "{" not in read.text
    )


def test_a_card_that_knows_little_says_so() -> None:
    text = hub.make_readme(
        Card("resnet18", "cion", (256, 128), (0.5,) * 3, (0.5,) * 3, 512, name="x")
    )
    assert (
        "license: unknown" in text
        and "None were measured" in text
        and "Not said by who exported it" in text
    )
    assert ModelCard(text).data.eval_results is None


def test_it_comes_back_from_its_folder_and_by_its_name_on_the_hub(
    published: tuple[Path, Card], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = published
    wanted = zoo.load(folder)[0]
    monkeypatch.setattr(
        hub_files, "try_to_load_from_cache", lambda repository, file: str(out / file)
    )
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        for name in (str(out), "hf:org/people"):
            model = zoo.create_model(name)
            assert not model.training and torch.equal(model(images), wanted(images))
    crops = [np.zeros((80, 40, 3), np.uint8)]
    assert np.array_equal(load_embedder("hf:org/people")(crops), load_embedder(folder)(crops))


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub_files, "hf_hub_url", lambda *_: "http://127.0.0.1:9/card.json")
    monkeypatch.setattr(hub_files, "SECONDS", 0.2)
    message = r"not to be had \(.+\); go on where there is a network, or .* name its folder instead"
    with pytest.raises(CionError, match=message):
        zoo.create_model("hf:org/none")


def test_the_command_writes_a_folder_for_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", str(folder), "--hub", "shared", "--licence", "MIT"])
    assert done.exit_code == 0 and "hf upload ORG/cion-resnet10_ibn shared" in done.output
    assert ModelCard.load("shared/README.md").data.license == "mit"
    for words in ([], ["--hub", "x", "--to", "onnx"]):
        done = CliRunner().invoke(app, ["export", str(folder), *words])
        assert done.exit_code == 1 and "name one: --to onnx" in done.output
