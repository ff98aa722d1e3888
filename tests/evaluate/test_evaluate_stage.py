"""The evaluate stage on a benchmark of coloured rectangles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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

P, CPU = Evaluate(rerank=False, flip=False), Runtime(device="cpu", batch=16)
CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 256)
WHAT = ["method", "backbone", "run", "recipe", "source", "setting", "benchmark"]
KEYS = [*WHAT, "mAP", "rank1", "rank5", "rank10", "mINP"]


class Recorder:
    """Stands in for the tracking of runs, tested elsewhere, and remembers what it was given."""

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
    """Eight people of two colours each, two cameras, after the benchmark stage.

    models/stripes is there.
    """
    shutil.copytree(project / "models/stripes", "models/stripes")
    rng = np.random.default_rng(0)
    for person in range(1, 9):
        top, bottom = rng.integers(0, 256, (2, 3))
        for folder, camera, count in (
            ("query", 1, 1),
            ("bounding_box_test", 2, 3),
            ("bounding_box_train", 1, 1),
        ):
            Path("set", folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                image = np.concatenate((np.full((32, 32, 3), top), np.full((32, 32, 3), bottom)))
                image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(f"set/{folder}/{person:04d}_c{camera}s1_{i:06d}_00.png", image)
    benchmarks.run(
        Benchmark.model_validate({"sources": {"set": "set"}, "layout": "market1501"}), "set"
    )
    return Path("data/benchmark/set")


def row(name: str, state: str = "frozen") -> dict:
    return json.loads(Path("data/evaluate/set", state, name, "metrics.json").read_text())


def cost(name: str, state: str = "frozen") -> dict:
    return json.loads(Path("data/evaluate/set", state, name, "cost.json").read_text())


def test_stripes_are_evaluated_and_their_features_removed(
    benchmark: Path, capsys: pytest.CaptureFixture
) -> None:
    stage.run(P, "set", "stripes", runtime=CPU)
    found = row("stripes")
    assert list(found) == KEYS
    assert cost("stripes") == {"parameters": 0, "flops": 0}, "nothing in it is learnt"
    took = json.loads(Path("data/costs/evaluate/set/frozen/stripes.json").read_text())
    assert took["device"] == "cpu" and took["milliseconds"] > 0
    assert [found[key] for key in WHAT] == ["stripes", "none", "frozen", "", "", "frozen", "set"]
    assert found["rank1"] >= 75 and 50 <= found["mAP"] <= 100
    assert not list((work.ROOT / "evaluate").iterdir()), (
        "features are kept until the results are written, no longer"
    )
    assert "stripes frozen on set: mAP" in capsys.readouterr().out
    assert sorted(path.name for path in Path("data/evaluate/set/frozen/stripes").iterdir()) == [
        "cameras.json",
        "cost.json",
        "method.json",
        "metrics.json",
        "queries.parquet",
        "ranked.parquet",
        "search.json",
    ]
    assert json.loads(Path("data/evaluate/set/frozen/stripes/method.json").read_text()) == {
        "name": "stripes", "about": "Colour histograms of horizontal stripes: no training, no "
                                    "weights",
        "style": {"colour": "#8a8f98", "dash": [0, [1, 1]]}, "phases": [],
    }  # fmt: skip


def test_scores_of_each_query_open_set_rates_and_pairs_of_cameras(benchmark: Path) -> None:
    stage.run(P, "set", "stripes", runtime=CPU)
    folder, found = Path("data/evaluate/set/frozen/stripes"), row("stripes")
    queries = tables.read(tables.Queries, folder / "queries.parquet")
    assert found["mAP"] == round(100 * queries.ap.mean(), 2)
    assert found["rank5"] == round(100 * (queries["first"] <= 5).mean(), 2)
    search = json.loads((folder / "search.json").read_text())
    assert search["identification"]["mated"] == len(queries) == search["identification"]["nonmated"]
    assert search["verification"]["right"] == 8 * 3 and search["verification"]["wrong"] == 8 * 7 * 3
    (pair,) = json.loads((folder / "cameras.json").read_text())
    assert pair == {
        "query": 1,
        "gallery": 2,
        "queries": 8,
        "mAP": pytest.approx(found["mAP"], abs=0.01),
        "rank1": found["rank1"],
    }


def test_mirrored_images_are_found_as_well(benchmark: Path, recorded: Recorder) -> None:
    stage.run(P, "set", "stripes", runtime=CPU)
    plain = row("stripes")
    stage.run(Evaluate(rerank=False, flip=True), "set", "stripes", runtime=CPU)
    assert row("stripes")["mAP"] == pytest.approx(plain["mAP"], abs=15)
    assert recorded.opened[0][2] != recorded.opened[1][2]


def test_ranked_lists_are_sorted_and_marked_right(benchmark: Path) -> None:
    stage.run(P, "set", "stripes", runtime=CPU)
    lists = tables.read(tables.Ranked, "data/evaluate/set/frozen/stripes/ranked.parquet")
    assert lists["query"].nunique() == 8 and lists.groupby("query").size().eq(10).all()
    assert (lists.groupby("query").distance.diff().fillna(0) >= 0).all()
    right = [
        Path(q).name[:4] == Path(g).name[:4]
        for q, g in zip(lists["query"], lists.gallery, strict=True)
    ]
    assert lists.right.tolist() == right


def test_frozen_and_after_a_run(benchmark: Path, recorded: Recorder) -> None:
    told = {
        "run": "tuned",
        "recipe": "bag_of_tricks",
        "sources": ["set"],
        "supervised": True,
        "labels": True,
    }
    for seed, (room, extra) in enumerate(
        {"pretrain": {}, "finetune/tuned": {"finetuned": told}}.items()
    ):
        torch.manual_seed(seed)
        card = replace(CARD, extra=extra)
        save(Path("data", room, "cion-resnet10_ibn"), create_model("resnet10_ibn", (64, 32)), card)
    about = {"name": "cion", "about": "words", "style": None, "phases": [[0.0, 2]]}
    with pytest.raises(
        CionError, match=r"pretrain/cion-resnet10_ibn/method\.json: no such file; the stage"
    ):
        stage.run(P, "set", "cion", "resnet10_ibn", runtime=CPU)
    work.write_json("data/pretrain/cion-resnet10_ibn/method.json", about)
    for state in ("frozen", "tuned"):
        stage.run(P, "set", "cion", "resnet10_ibn", state, CPU)
    both = [row("cion-resnet10_ibn", state) for state in ("frozen", "tuned")]
    assert [(r["setting"], r["run"], r["source"]) for r in both] == [
        ("frozen", "frozen", ""), ("finetuned", "tuned", "set"),
    ]  # fmt: skip
    assert all(r["method"] == "cion" and r["backbone"] == "resnet10_ibn" for r in both)
    assert all(0 <= r[key] <= 100 for r in both for key in KEYS[len(WHAT) :])
    model = create_model("resnet10_ibn", (64, 32))
    counted = [cost("cion-resnet10_ibn", state) for state in ("frozen", "tuned")]
    assert all(
        c["parameters"] == sum(p.numel() for p in model.parameters()) and c["flops"] > 1e6
        for c in counted
    )
    out = Path("data/evaluate/set")
    frozen, tuned = (
        tables.read(tables.Ranked, out / state / "cion-resnet10_ibn/ranked.parquet")
        for state in ("frozen", "tuned")
    )
    assert frozen["query"].tolist() == tuned["query"].tolist()
    assert not np.allclose(frozen.distance, tuned.distance)
    assert json.loads((out / "tuned/cion-resnet10_ibn/method.json").read_text()) == about
    assert recorded.tables == {"evaluation.json": both[1:]}
    assert recorded.numbers["mAP"] == both[1]["mAP"]
    assert [about[:2] for about in recorded.opened[-2:]] == [
        ("evaluate", "cion-resnet10_ibn-frozen-set"), ("evaluate", "cion-resnet10_ibn-tuned-set"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "supervised", "labels", "setting"),
    [
        (["set"], True, True, "finetuned"),
        (["set"], False, False, "unsupervised"),
        (["other", "set"], False, True, "adapted"),
        (["other", "set"], False, False, "unsupervised"),
        (["other"], True, True, "transferred"),
        (["set", "other"], False, True, "transferred"),
    ],
)
def test_a_run_is_described_by_sources_and_setting(
    sources: list[str], supervised: bool, labels: bool, setting: str
) -> None:
    told = {
        "run": "r",
        "recipe": "x",
        "sources": sources,
        "supervised": supervised,
        "labels": labels,
    }
    found = stage.described(told, "set")
    assert found == {"run": "r", "recipe": "x", "source": " → ".join(sources), "setting": setting}


def test_twice_gives_the_same_files(benchmark: Path) -> None:
    folder = Path("data/evaluate/set/frozen/stripes")
    stage.run(P, "set", "stripes", runtime=CPU)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    stage.run(P, "set", "stripes", runtime=Runtime(device="cpu", batch=3))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_reranking_changes_the_distances_and_the_key(benchmark: Path, recorded: Recorder) -> None:
    stage.run(P, "set", "stripes", runtime=CPU)
    plain = tables.read(tables.Ranked, "data/evaluate/set/frozen/stripes/ranked.parquet")
    stage.run(Evaluate(rerank=True, flip=False), "set", "stripes", runtime=CPU)
    better = tables.read(tables.Ranked, "data/evaluate/set/frozen/stripes/ranked.parquet")
    assert not np.allclose(plain.distance, better.distance)
    assert recorded.opened[0][2] != recorded.opened[1][2]


def test_a_model_that_was_not_trained_yet(benchmark: Path) -> None:
    with pytest.raises(CionError, match=r"data/pretrain/cion-resnet10_ibn: no such model"):
        stage.run(P, "set", "cion", "resnet10_ibn", runtime=CPU)
    assert not Path("data/evaluate/set/frozen/cion-resnet10_ibn").exists()


def test_a_missing_benchmark_is_named(workspace: Path) -> None:
    with pytest.raises(
        CionError, match=r"images\.parquet: no such file; the stage that writes it has not run"
    ):
        stage.run(P, "set", "stripes", runtime=CPU)
