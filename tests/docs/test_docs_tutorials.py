"""What the README and the tutorials tell people to type: Python runs, commands exist."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
import yaml

from cion_core import project, zoo
from cion_core.cli import app
from cion_core.config import load_yaml
from cion_core.pretrain.methods import METHODS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docker/README.md",
    ROOT / "models/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def python_of(page: str) -> str:
    """The first Python block of a tutorial."""
    return BLOCK.search((ROOT / "docs/tutorials" / page).read_text())[1]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each line of a page that calls cion, up to a comment sign or a pipe."""
    for line in page.read_text().splitlines():
        if line.startswith("    cion ") or line.startswith("    CUDA_VISIBLE_DEVICES"):
            words = shlex.split(line.split(" # ")[0].split(" | ")[0], comments=True)
            yield words[words.index("cion") + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    root = typer.main.get_command(app)
    for words in commands(page):
        command = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not root, f"{page}: no command {words}"
        known = {
            name
            for parameter in command.params
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        named = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert named <= known | {"--help"}, f"{page}: cion {command.name} has no {named - known}"


def test_the_method_of_the_tutorial_is_a_part_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/tutorials/new-method.md").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/classify.py").write_text(python_of("new-method.md"))
    settings = yaml.safe_load(page.split("## 2.")[1].split("\n\n", 2)[1])["pretrain"]
    params = load_yaml(ROOT / "params.yaml")
    params["pretrain"] |= settings
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    try:
        p = project.load().pretrain
        torch.manual_seed(0)
        method = METHODS.named("mine.classify")(p, zoo.create_model("resnet10_ibn"), 4)
        views = [torch.randn(8, 3, *kind.size) for kind in method.view_kinds()]
        identities = torch.arange(4).repeat_interleave(2)
        optimizer = method.optimizer()
        losses = []
        for _ in range(8):
            loss, _seen = method(views, 2, identities)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(method.chance, rel=0.5) and losses[-1] < losses[0] / 2
        assert method.chance == math.log(4) and method.kept_network is method.networks()[0]
        assert method.rates(0, 100).lr < method.rates(10, 100).lr
    finally:
        METHODS.parts.pop("mine.classify", None)
        for name in ("mine", "mine.classify"):
            sys.modules.pop(name, None)


def test_the_library_call_of_the_tutorial_gives_identities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four people, each a tracklet in two videos."""
    looks = np.eye(4, 16).repeat(10, 0)
    features = np.concatenate([looks, looks]) + 0.02 * np.random.default_rng(0).normal(
        size=(80, 16)
    )
    tracklet = np.arange(80) // 10
    crops = pd.DataFrame({
        "crop": np.arange(80), "video": np.where(tracklet < 4, "a", "b"),
        "frame": np.tile(np.arange(10), 8), "tracklet": tracklet,
    })  # fmt: skip
    monkeypatch.chdir(tmp_path)
    crops.to_parquet("tracks.parquet")
    np.save("features.npy", features.astype(np.float32))
    # So few crops have no probabilities.
    script = python_of("own-tracklets.md").replace("print(result.at(0.9))", "")
    exec(compile(script, "own-tracklets.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "4"
