"""The zoo's table against the published one, and docs/zoo.md against the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cion_core import zoo
from cion_core.cli import app
from cion_core.deploy import table
from cion_core.errors import CionError
from cion_core.zoo import Card, names


@pytest.fixture(scope="module")
def rows() -> list[table.BackboneRow]:
    return list(table.describe_backbones())


def test_parameters_and_flops_are_the_published_ones(rows: list[table.BackboneRow]) -> None:
    """To the published two decimals, and within 5 % unless their rounding alone is off by more."""
    assert [row.model for row in rows] == list(names.ZOO)
    for row in rows:
        assert round(row.params, 2) == row.published["params_m"], row.model
        off = abs(row.flops - row.published["flops_g"])
        assert off <= 0.01 and off <= max(0.05 * row.published["flops_g"], 0.005), row


def test_flops_of_a_known_network() -> None:
    """ResNet-18 at 224x224 has 1.814 G multiply-adds (He et al., table 1: 1.8).

    It also has about 2.5 M normalised values.
    """
    with torch.device("meta"):
        last_stride = zoo.create_model("resnet18").layer4[0].conv1.stride
    # Layer 4, about a quarter of the cost, is computed on four times the pixels.
    assert last_stride == (1, 1)
    _, flops, width = table.count_cost("resnet18")
    plain = 1.814 * (256 * 128) / (224 * 224)
    assert plain * 1.5 < flops < plain * 1.75 and width == 512


def test_the_page_is_up_to_date(rows: list[table.BackboneRow], project: Path) -> None:
    assert (project / "docs/zoo.md").read_text() == table.to_markdown(rows), (
        "cion zoo --markdown > docs/zoo.md"
    )


def test_weights_that_are_here_are_found_by_name(tmp_path: Path) -> None:
    zoo.save(
        tmp_path / "mine",
        zoo.create_model("resnet18"),
        Card("resnet18", "x", (64, 32), (0,) * 3, (1,) * 3, 512),
    )
    for name in (
        "ResNet50_IBN.pth",
        "resnet50_cion.pth",
        "ViT-Tiny.safetensors",
        "other.pth",
        "resnet18.txt",
    ):
        (tmp_path / name).touch()
    (tmp_path / "stripes").mkdir()
    found = {
        name: [path.name for path in paths] for name, paths in table.find_weights(tmp_path).items()
    }
    assert found == {
        "resnet18": ["mine"],
        "resnet50_ibn": ["ResNet50_IBN.pth"],
        "resnet50": ["resnet50_cion.pth"],
        "vit_tiny": ["ViT-Tiny.safetensors"],
    }


def test_the_zoo_command_lists_the_models_asked_for(workspace: Path) -> None:
    Path("models").mkdir()
    Path("models/resnet18.pth").touch()
    done = CliRunner().invoke(app, ["zoo", "resnet18", "mobilenetv3_small_050", "--latency"])
    assert done.exit_code == 0
    head, first, second = done.output.splitlines()
    assert "CPU (ms)" in head and "Here" in head
    assert "models/resnet18.pth" in first and "89.3" in first
    assert second.split()[:2] == ["mobilenetv3_small_050", "timm"]
    assert CliRunner().invoke(app, ["zoo", "resnet51"]).exit_code == 1


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(CionError, match="resnet51"):
        list(table.describe_backbones(["resnet51"]))
