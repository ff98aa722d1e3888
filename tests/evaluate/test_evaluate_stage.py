"""The evaluate stage on a benchmark of coloured rectangles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cion_core import tables, work
from cion_core.benchmark import stage as benchmarks
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError
from cion_core.evaluate import stage
from cion_core.evaluate.settings import Evaluate
from cion_core.runtime import Runtime
from cion_core.zoo import Card, create_model, save

P, CPU = Evaluate(rerank=False), Runtime(device="cpu", batch=16)
CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 256)
KEYS = ["method", "backbone", "setting", "benchmark", "mAP", "rank1", "rank5", "rank10", "mINP"]


class Recorder:
    """Stands in for the tracking of runs, whose own tests lie elsewhere, and remembers what it was given."""

    def __init__(self) -> None:
        self.opened: list[tuple] = []
        self.numbers: dict[str, float] = {}
        self.tables: dict[str, list[dict]] = {}

    @contextmanager
    def run(self, *about: object) -> Iterator[Recorder]:
        self.opened.append(about)
        yield self

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        self.numbers |= values

    def table(self, rows: list[dict], name: str) -> None:
        self.tables[name] = rows


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(stage.tracking, "run", recorder.run)
    return recorder


@pytest.fixture
def benchmark(workspace: Path, project: Path, recorded: Recorder) -> Path:
    """Eight people of two colours each, two cameras; the benchmark stage has run; models/stripes is there."""
    shutil.copytree(project / "models/stripes", "models/stripes")
    rng = np.random.default_rng(0)
    for person in range(1, 9):
        top, bottom = rng.integers(0, 256, (2, 3))
        for folder, camera, count in (("query", 1, 1), ("bounding_box_test", 2, 3), ("bounding_box_train", 1, 1)):
            Path("set", folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                image = np.concatenate((np.full((32, 32, 3), top), np.full((32, 32, 3), bottom)))
                image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(f"set/{folder}/{person:04d}_c{camera}s1_{i:06d}_00.png", image)
    benchmarks.run(Benchmark.model_validate({"source": "set", "layout": "market1501"}))
    return Path("data/benchmark")


def rows(name: str) -> list[dict]:
    return json.loads(Path("data/evaluate", name, "metrics.json").read_text())


def test_stripes(benchmark: Path, capsys: pytest.CaptureFixture) -> None:
    stage.run(P, "stripes", runtime=CPU)
    (row,) = rows("stripes")
    assert list(row) == KEYS
    assert [row[key] for key in KEYS[:4]] == ["stripes", "none", "frozen", "set"]
    assert row["rank1"] >= 75 and 50 <= row["mAP"] <= 100
    assert not (work.ROOT / "evaluate").exists(), "features are kept until the results are written, and no longer"
    assert "stripes frozen on set: mAP" in capsys.readouterr().out
    assert sorted(path.name for path in Path("data/evaluate/stripes").iterdir()) == [
        "method.json", "metrics.json", "ranked-frozen.parquet",
    ]  # fmt: skip
    assert json.loads(Path("data/evaluate/stripes/method.json").read_text()) == {
        "name": "stripes", "about": "Colour histograms of horizontal stripes: no training, no weights",
        "style": {"colour": "#8a8f98", "dash": [0, [1, 1]]}, "phases": [],
    }  # fmt: skip


def test_ranked_lists(benchmark: Path) -> None:
    stage.run(P, "stripes", runtime=CPU)
    lists = tables.read(tables.Ranked, "data/evaluate/stripes/ranked-frozen.parquet")
    assert lists["query"].nunique() == 8 and lists.groupby("query").size().eq(10).all()
    assert (lists.groupby("query").distance.diff().fillna(0) >= 0).all()
    right = [Path(q).name[:4] == Path(g).name[:4] for q, g in zip(lists["query"], lists.gallery, strict=True)]
    assert lists.right.tolist() == right


def test_frozen_and_finetuned(benchmark: Path, recorded: Recorder) -> None:
    for seed, room in enumerate(("pretrain", "finetune")):
        torch.manual_seed(seed)
        save(Path("data", room, "cion-resnet10_ibn"), create_model("resnet10_ibn", (64, 32)), CARD)
    about = {"name": "cion", "about": "words", "style": None, "phases": [[0.0, 2]]}
    with pytest.raises(CionError, match=r"pretrain/cion-resnet10_ibn/method\.json: no such file; the stage"):
        stage.run(P, "cion", "resnet10_ibn", CPU)
    work.write_json("data/pretrain/cion-resnet10_ibn/method.json", about)
    stage.run(P, "cion", "resnet10_ibn", CPU)
    both = rows("cion-resnet10_ibn")
    assert [row["setting"] for row in both] == ["frozen", "finetuned"]
    assert all(row["method"] == "cion" and row["backbone"] == "resnet10_ibn" for row in both)
    assert all(0 <= row[key] <= 100 for row in both for key in KEYS[4:])
    out = Path("data/evaluate/cion-resnet10_ibn")
    frozen, finetuned = (tables.read(tables.Ranked, out / f"ranked-{row['setting']}.parquet") for row in both)
    assert frozen["query"].tolist() == finetuned["query"].tolist()
    assert not np.allclose(frozen.distance, finetuned.distance)
    assert json.loads((out / "method.json").read_text()) == about
    assert recorded.tables == {"evaluation.json": both}
    assert recorded.numbers["frozen/mAP"] == both[0]["mAP"]
    assert recorded.opened[0][:2] == ("evaluate", "cion-resnet10_ibn")


def test_twice_gives_the_same_files(benchmark: Path) -> None:
    folder = Path("data/evaluate/stripes")
    stage.run(P, "stripes", runtime=CPU)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    stage.run(P, "stripes", runtime=Runtime(device="cpu", batch=3))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_reranking_changes_the_distances_and_the_key(benchmark: Path, recorded: Recorder) -> None:
    stage.run(P, "stripes", runtime=CPU)
    plain = tables.read(tables.Ranked, "data/evaluate/stripes/ranked-frozen.parquet")
    stage.run(Evaluate(rerank=True), "stripes", runtime=CPU)
    better = tables.read(tables.Ranked, "data/evaluate/stripes/ranked-frozen.parquet")
    assert not np.allclose(plain.distance, better.distance)
    assert recorded.opened[0][2] != recorded.opened[1][2]


def test_a_model_that_was_not_trained_yet(benchmark: Path) -> None:
    with pytest.raises(CionError, match=r"data/pretrain/cion-resnet10_ibn/card\.json: no such file"):
        stage.run(P, "cion", "resnet10_ibn", CPU)
    assert not Path("data/evaluate/cion-resnet10_ibn").exists()


def test_no_benchmark_yet(workspace: Path) -> None:
    with pytest.raises(CionError, match=r"images\.parquet: no such file; the stage that writes it has not run"):
        stage.run(P, "stripes", runtime=CPU)
