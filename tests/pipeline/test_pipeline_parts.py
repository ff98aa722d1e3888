"""One file adds a part of each kind: outputs change, lists show it, no other stage is stale."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from miniature import TRICKS, Project

from cion_core import tables

pytestmark = pytest.mark.slow  # every test reproduces a part of the pipeline

DETECTOR = """
import supervision as sv
import numpy as np
from cion_core.config import Count, Section
from cion_core.extract.detectors.base import Detector, detections


class OneBox(Detector):
    about = "one box that never moves"

    class Settings(Section):
        left: Count = 20

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        left = self.settings.left
        return detections([[left, 30, left + 40, 130]], [1.0])
"""
RULE = """
import numpy as np
from cion_core.denoise.linking.nodes import LinkingResult
from cion_core.denoise.linking.rules.published import Published


class Nobody(Published):
    about = "links nobody"

    def link(self, nodes, points, separation, radius):
        return LinkingResult(np.arange(len(points)), [])
"""
METHOD = """
from cion_core.config import Positive, Section
from cion_core.pretrain.methods.random import Random


class Zero(Random):
    about = "every weight set to one number"

    class Settings(Section):
        value: Positive = 0.5

    @property
    def kept_network(self):
        for parameter in self.backbone.parameters():
            parameter.data.fill_(self.settings.value)
        return self.backbone
"""


@pytest.fixture
def project(reproduced: Project, tmp_path: Path) -> Iterator[Project]:
    """The reproduced project, brought back afterwards to what it was."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(reproduced.folder / name, kept)
    # DVC does not keep all of it.
    reports = shutil.copytree(reproduced.folder / "data/reports", kept / "reports")
    yield reproduced
    shutil.rmtree(reproduced.folder / "mine", ignore_errors=True)
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(kept / name, reproduced.folder)
    reproduced.run("cion", "list")
    reproduced.run("dvc", "checkout", "--force")
    shutil.copytree(reports, reproduced.folder / "data/reports", dirs_exist_ok=True)
    shutil.rmtree(reproduced.folder / "data/reports/metrics")
    shutil.copytree(reports / "metrics", reproduced.folder / "data/reports/metrics")
    assert not reproduced.stale()


def test_a_detector_that_finds_one_box(project: Project) -> None:
    project.add("mine/one_box.py", DETECTOR)
    project.change(
        "params.yaml", {"extract": {"detector": "mine.one_box", "mine": {"one_box": {"left": 30}}}}
    )
    project.run("dvc", "repro", "extract")
    crops = tables.read(tables.Crops, project.folder / "data/tracklets/crops.parquet")
    assert set(crops.x1) == {30} and (crops.groupby("video").tracklet.nunique() == 1).all()
    assert not project.stale() & {"extract", "ingest", "benchmark"}
    project.add("mine/one_box.py", DETECTOR.replace("left + 40", "left + 44"))
    assert "extract" in project.stale() and not project.stale() & {"ingest", "benchmark"}
    project.change("params.yaml", {"extract": {"mine": {"one_box": {"right": 30}}}})
    assert "extract.mine.one_box.right: unknown key" in project.run(
        "cion", "evaluate", "demo", "stripes", fails=True
    )


def test_a_rule_that_links_nobody(project: Project) -> None:
    project.add("mine/nobody.py", RULE)
    project.change("params.yaml", {"denoise": {"linking": "mine.nobody", "mine": {"nobody": {}}}})
    project.run("cion", "list")
    assert not project.stale() & {"extract", "embed", "denoise@tracklet", "denoise@video"}
    project.run("dvc", "repro", "denoise@cross_video")
    folder = project.folder / "data/denoise"
    before, after = (
        pd.read_parquet(folder / level / "identities.parquet") for level in ("video", "cross_video")
    )
    assert before.identity.nunique() == after.identity.nunique()
    ledger = tables.read(tables.Ledger, folder / "cross_video/ledger.parquet")
    assert set(ledger.rule) == {"mine.nobody"} and set(ledger.action) == {"kept"}


def test_a_method_is_trained_compared_and_drawn(project: Project) -> None:
    """In the tree this time, as one who works on the project adds it."""
    home = project.folder / "cion_core/pretrain/methods/zero.py"
    try:
        home.write_text(METHOD)
        assert not project.stale(), "a file that nobody has named"
        assert "zero" in project.run("cion", "parts") and "zero" in project.run(
            "cion", "pretrain", "--help"
        )
        methods = ["random", "lup", "cion", "zero"]
        project.change("params.yaml", {"pretrain": {"methods": methods, "zero": {"value": 0.25}}})
        project.run("cion", "list")
        zero = "zero-resnet10_ibn"
        zeros = {
            f"pretrain@{zero}",
            f"finetune@{zero}-first",
            f"evaluate@{zero}-demo",
            f"evaluate-run@{zero}-first-demo",
        }
        assert project.stale() == zeros | {"compare"}
        project.run("dvc", "repro")
        rows = json.loads((project.folder / "data/reports/comparison.json").read_text())
        assert [row["setting"] for row in rows if row["method"] == "zero"] == [
            "frozen",
            "finetuned",
        ]
        page = (project.folder / "data/reports/index.html").read_text()
        assert "every weight set to one number" in page
        assert "valid are" in project.run("cion", "pretrain", "nought", "resnet10_ibn", fails=True)
        home.write_text(METHOD.replace("one number", "a number"))
        assert not project.stale() & {
            f"pretrain@{method}-resnet10_ibn" for method in ("random", "lup", "cion")
        }
        assert "pretrain@zero-resnet10_ibn" in project.stale()
    finally:
        home.unlink()


LAYOUT = """
from pathlib import Path
import pandas as pd
from cion_core.benchmark.layouts.base import Layout


class Folders(Layout):
    about = "SPLIT/PERSON/CAMERA_NUMBER.jpg"

    def read(self, folder: Path) -> pd.DataFrame:
        rows = []
        for path in sorted(folder.glob("*/*/*.jpg")):
            split, person = path.parts[-3:-1]
            camera = int(path.name.split("_")[0])
            rows.append((str(path), split, int(person), camera))
        return pd.DataFrame(rows, columns=["path", "split", "person", "camera"])
"""
RECIPE = """
from cion_core.finetune.recipes.bag_of_tricks import BagOfTricks


class Short(BagOfTricks):
    about = "the bag of tricks at a size of its own"

    class Settings(BagOfTricks.Settings):
        image: tuple[int, int] = (48, 24)
"""


def test_a_layout_of_another_shape(project: Project) -> None:
    source = project.folder / "mine/labelled"
    rendered = project.folder / "data/benchmark/demo"
    for split, name in {
        "train": "bounding_box_train",
        "query": "query",
        "gallery": "bounding_box_test",
    }.items():
        for path in (rendered / name).glob("*.jpg"):
            person, rest = path.stem.split("_c")
            folder = source / split / str(int(person))
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{rest.split('s')[0]}_{rest}.jpg")
    project.add("mine/folders.py", LAYOUT)
    settings = {
        "sources": {"demo": "mine/labelled"},
        "layout": "mine.folders",
        "mine": {"folders": {}},
    }
    project.change("params.yaml", {"benchmark": settings})
    project.run("cion", "list")
    assert project.stale() <= {"benchmark@demo", "compare"}
    before = tables.read(tables.Benchmark, rendered / "images.parquet")
    project.run("dvc", "repro", "benchmark@demo")
    after = tables.read(tables.Benchmark, rendered / "images.parquet")
    columns = ["split", "person", "camera"]
    assert after[columns].value_counts().to_dict() == before[columns].value_counts().to_dict()
    assert after.path.str.startswith("mine/labelled/").all()


def test_a_recipe_at_a_size_of_its_own(project: Project) -> None:
    project.add("mine/short.py", RECIPE)
    short = {key: value for key, value in TRICKS.items() if key != "image"}
    runs = {"first": {"recipe": "mine.short"}}
    project.change("params.yaml", {"finetune": {"runs": runs, "mine": {"short": short}}})
    project.run("cion", "list")
    models = [f"{method}-resnet10_ibn" for method in ("random", "lup", "cion")]
    touched = {f"finetune@{m}-first" for m in models} | {
        f"evaluate-run@{m}-first-demo" for m in models
    }
    assert project.stale() == touched | {"start@first", "compare"}
    project.run("dvc", "repro", "evaluate-run@random-resnet10_ibn-first-demo")
    card = json.loads(
        (project.folder / "data/finetune/first/random-resnet10_ibn/card.json").read_text()
    )
    assert card["image"] == [48, 24] and card["extra"]["finetuned"]["recipe"] == "mine.short"
    row = json.loads(
        (project.folder / "data/evaluate/demo/first/random-resnet10_ibn/metrics.json").read_text()
    )
    assert (row["setting"], row["recipe"]) == ("finetuned", "mine.short")
    project.add("mine/short.py", RECIPE.replace("(48, 24)", "(56, 24)"))
    assert "finetune@random-resnet10_ibn-first" in project.stale()


UNRELATED = (
    "cion_core/audit/explain.py",
    "cion_core/external/mot.py",
    "cion_core/pretrain/plan.py",
    "cion_core/cli/stages.py",
    "cion_core/deploy/search.py",
    "cion_core/pretrain/methods/pnl.py",
    "cion_core/extract/detectors/hog.py",
    "flows/reproduce.py",
    "docs/architecture.md",
    "cion_core/report/page.py",
)


def test_what_a_stage_does_not_use_makes_it_not_stale(reproduced: Project) -> None:
    before = {
        path: path.read_text()
        for path in (reproduced.folder / name for name in UNRELATED)
        if path.exists()
    }
    assert len(before) > 7, "the others are not in this copy of the project"
    try:
        for path, text in before.items():
            path.write_text(text + "\n# a word more\n")
        assert reproduced.stale() == {"compare"}, "which draws the page and tells of crops"
    finally:
        for path, text in before.items():
            path.write_text(text)
