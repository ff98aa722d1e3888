"""Models that people bring: what is found out about them, on rendered people and on tracklets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from cion_core import rendered, tables, zoo
from cion_core.cli import app
from cion_core.crops import CropWriter
from cion_core.deploy import adding, separation
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder

PEOPLE, CROPS = 12, 4
SIZE = (64, 32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def table(people: int = PEOPLE, crops: int = CROPS) -> pd.DataFrame:
    """Two people at a time, a tracklet each, seen in the same frames of one video."""
    rows = [
        {
            "crop": crops * person + turn,
            "video": "a.mp4",
            "frame": 100 * (person // 2) + turn,
            "tracklet": person,
            "time_s": 10.0 * (person // 2) + turn,
            "x1": 60.0 * (person % 2),
            "y1": 0.0,
            "x2": 60.0 * (person % 2) + 30,
            "y2": 80.0,
            "confidence": 1.0,
        }
        for person in range(people)
        for turn in range(crops)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def tracklets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    crops = table()
    with CropWriter(Path("data/tracklets/crops/a.tar")) as writer:
        placed = [
            writer.add(f"{row:08d}", image)
            for row, image in enumerate(rendered.people(PEOPLE, CROPS, seed=3))
        ]
    crops["shard"] = "a.tar"
    crops["offset"], crops["size"] = zip(*placed, strict=True)
    tables.write(tables.Crops, crops, "data/tracklets/crops.parquet")
    return Path("data/tracklets")


@pytest.fixture(scope="module")
def learnt() -> nn.Module:
    """A ResNet-10-IBN that learnt for some seconds to tell other rendered people apart.

    Its images are prepared with ImageNet's mean and std.
    """
    people, views = 64, 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = zoo.to_tensor(rendered.people(people, views, seed=1), (SIZE, MEAN, STD))
        who = torch.arange(people).repeat_interleave(views)
        model, head = zoo.create_model("resnet10_ibn", SIZE), nn.Linear(256, people)
        optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=2e-3)
        for _ in range(60):
            rows = torch.randperm(len(images))[:48]
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(model(images[rows])), who[rows]).backward()
            optimiser.step()
    return model.eval()


def run(*words: object) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_checkpoint_is_added_looked_at_and_tried(tracklets: Path, learnt: nn.Module) -> None:
    torch.save({"net": learnt.state_dict()}, "mine.pth")
    said = run("model", "add", "mine.pth", "--name", "mine", "--size", "64x32")
    assert "models/mine: 256 numbers a feature, from images of 64x32" in said
    assert "nothing wrong found on rendered people" in said
    assert f"{PEOPLE} of your tracklets, told from whoever was seen beside them" in said
    assert "none is clearly better than the card's preparation" in said
    assert said.count(" % ±") == 8, "the card's is one of the eight usual preparations"
    assert zoo.load("models/mine")[1].mean == MEAN


class Picky(Embedder):
    """Colours of stripes if images are prepared by ImageNet's mean and std, in RGB; else noise."""

    model = "picky"

    def __init__(self, mean: tuple, std: tuple, stripes: Embedder) -> None:
        self.preparation_told = (tuple(mean), tuple(std))
        self.stripes = stripes

    @property
    def preparation(self) -> tuple[tuple, tuple]:
        return self.preparation_told

    def prepared_as(self, mean: tuple, std: tuple) -> Picky:
        return Picky(mean, std, self.stripes)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        if self.preparation == (MEAN, STD):
            return self.stripes(images)
        noise = np.random.default_rng(0).normal(size=(len(images), 64))
        return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def test_another_preparation_that_fits_better_is_named_with_the_words_for_it(
    tracklets: Path, project: Path
) -> None:
    stripes = load_embedder(project / "models/stripes")
    lines = list(adding.try_on_tracklets(Picky((0.5,) * 3, (0.5,) * 3, stripes), tracklets))
    words = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
    assert lines[-1] == f"clearly better: ImageNet's mean and std. Add it again with {words}"
    right = list(adding.try_on_tracklets(Picky(MEAN, STD, stripes), tracklets))
    assert right[-1] == "none is clearly better than the card's preparation"


def test_without_tracklets_it_says_so(tmp_path: Path) -> None:
    (line,) = adding.try_on_tracklets(Picky(MEAN, STD, None), tmp_path / "none")
    assert line.startswith("not tried on your own people: no ") and "none/crops.parquet" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "../x"], "--name ../x: a folder's name"),
        (["--name", "x", "--mean", "1,2"], "--mean 1,2: three numbers"),
        (["--name", "x", "--std", "0,1,1"], "--std 0,1,1: three numbers"),
        (["--name", "x", "--size", "256"], "--size 256: height x width"),
        (["--name", "x", "--architecture", "resnet51"], "unknown backbone 'resnet51'"),
        (["--name", "there"], "models/there: is there already"),
    ],
)
def test_wrong_options_are_refused_and_no_model_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(zoo.create_model("resnet10_ibn", SIZE).state_dict(), "mine.pth")
    Path("models/there").mkdir(parents=True)
    done = CliRunner().invoke(app, ["model", "add", "mine.pth", *words])
    assert done.exit_code == 1 and message in done.output
    assert not Path("models/x").exists()


def test_an_onnx_graph_is_examined_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Constant(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(images.shape[0], 8) + 0 * images.mean(dim=(1, 2, 3)).unsqueeze(1)

    pytest.importorskip("onnx", reason="torch writes ONNX with it")
    torch.onnx.export(Constant().eval(), (torch.zeros(2, 3, *SIZE),), "flat.onnx", dynamo=False)
    done = CliRunner().invoke(app, ["sanity", "flat.onnx"])
    assert done.exit_code == 1 and "every image has the same feature" in done.output


def test_triples_are_of_one_tracklet_and_of_whoever_was_beside() -> None:
    crops = table()
    drawn = separation.draw_triples(crops)
    tracklet, frame = crops.tracklet.to_numpy(), crops.frame.to_numpy()
    assert len(drawn.anchor) == PEOPLE * separation.TRIPLES_OF_PAIR
    assert (tracklet[drawn.anchor] == tracklet[drawn.same]).all() and (
        drawn.anchor != drawn.same
    ).all()
    assert (tracklet[drawn.anchor] != tracklet[drawn.other]).all()
    assert (frame[drawn.anchor] == frame[drawn.other]).all()


def test_nobody_beside_anybody_gives_no_triples() -> None:
    crops = table(people=3)
    crops["frame"] = np.arange(len(crops))
    assert len(separation.draw_triples(crops).anchor) == 0
    alone = table(people=4, crops=1)
    assert len(separation.draw_triples(alone).anchor) == 0, "of tracklets with one crop"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.floats(0, 2))
def test_the_share_in_the_right_order_is_counted_by_hand(seed: int, noise: float) -> None:
    crops = table(people=6)
    drawn = separation.draw_triples(crops, seed=seed)
    rng = np.random.default_rng(seed)
    features = np.eye(6)[crops.tracklet] + noise * rng.normal(size=(len(crops), 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = separation.share_in_right_order(features[drawn.rows], drawn)
    for name, share in found.items():
        rows = np.flatnonzero(drawn.tracklet == name)
        near = [
            features[drawn.anchor[row]] @ features[drawn.same[row]]
            > features[drawn.anchor[row]] @ features[drawn.other[row]]
            for row in rows
        ]
        assert share == pytest.approx(np.mean(near))
