"""The benchmark stage, and folders in Market-1501's layout: read, checked, described."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_benchmarks import MARKET, picture

from cion_core import tables, work
from cion_core.benchmark import stage
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError


def run(source: Path | str, layout: str = "market1501", **settings: object) -> None:
    stage.run(
        Benchmark.model_validate({"sources": {"set": str(source)}, "layout": layout, **settings}),
        "set",
    )


def test_stage_references_the_folder(market: Path) -> None:
    run(market)
    table = tables.read(tables.Benchmark, "data/benchmark/set/images.parquet")
    assert all(Path(path).is_file() for path in table.path)
    assert json.loads(Path("data/benchmark/set/benchmark.json").read_text()) == {
        "name": "set", "source": "market", "people": {"train": 2, "test": 2},
        "layout": "market1501", "images": {"train": 3, "query": 2, "gallery": 5}, "cameras": 4,
        "cameras_of": {"train": 3, "query": 2, "gallery": 3}, "queries_without_match": 1,
        "set_aside": {}, "passed_over": {".db": 3},
    }  # fmt: skip
    assert sorted(path.name for path in Path("data/benchmark/set").iterdir()) == [
        "benchmark.json",
        "images.parquet",
    ]


def test_a_query_without_a_match_is_reported(market: Path, capsys: pytest.CaptureFixture) -> None:
    run(market)
    assert "1 queries lack an image of their person under another camera" in capsys.readouterr().out


def test_no_query_with_a_match(market: Path) -> None:
    Path("market/query/0001_c1s1_001051_00.jpg").unlink()
    with pytest.raises(CionError, match="no query's person is in the gallery under another camera"):
        run(market)
    assert not Path("data/benchmark/set/images.parquet").exists()


def test_a_name_that_is_no_benchmark() -> None:
    with pytest.raises(CionError, match=r"benchmark\.sources: no benchmark other; there are set"):
        stage.run(
            Benchmark.model_validate({"sources": {"set": "set"}, "layout": "market1501"}), "other"
        )


def test_a_missing_source_is_named() -> None:
    with pytest.raises(
        CionError,
        match=r"benchmark\.sources\.set: no folder nowhere; .*demo.* benchmark\.layout names, which is market1501",
    ):
        run("nowhere")


def test_what_cannot_be_used_is_set_aside_and_named(
    market: Path, capsys: pytest.CaptureFixture
) -> None:
    cut, empty = (
        market / "query" / MARKET["query"][1],
        market / "bounding_box_test" / MARKET["bounding_box_test"][1],
    )
    cut.write_bytes(cut.read_bytes()[:-50])
    empty.write_bytes(b"")
    picture(market / "query" / "Screenshot.png")
    picture(market / "bounding_box_train" / "-1_c1s1_000001_00.jpg")
    Path(os.fsdecode(b"market/query/0001_c2_cam\xe9ra.jpg")).write_bytes(b"")
    (market / "query" / "notes.txt").touch()
    run(market)
    about = json.loads(Path("data/benchmark/set/benchmark.json").read_text())
    reasons = {
        "market/query/0001_c2_cam\\xe9ra.jpg": "its name is not UTF-8",
        "market/query/Screenshot.png": "no person and camera for it in the layout market1501",
        "market/bounding_box_train/-1_c1s1_000001_00.jpg": "an image of training that shows junk",
        str(cut): "cut off or damaged: premature end",
        str(empty): "it is empty",
    }
    said = capsys.readouterr().out
    assert set(about["set_aside"]) == set(reasons)
    for name, reason in reasons.items():
        assert reason in about["set_aside"][name] and f"benchmark set: {name} set aside: " in said
    assert (
        about["passed_over"] == {".db": 3, ".txt": 1}
        and "4 files passed over: .db 3, .txt 1" in said
    )
    assert about["images"] == {"train": 3, "query": 1, "gallery": 4}


def test_a_split_of_which_nothing_can_be_used_is_an_error(market: Path) -> None:
    for name in MARKET["query"]:
        (market / "query" / name).write_bytes(b"no image")
    with pytest.raises(
        CionError,
        match=r"market: no image of query can be used\n  market/query/0001\S+: not a readable",
    ):
        run(market)
    assert not Path("data/benchmark/set/images.parquet").exists()


def test_a_changed_image_is_seen_in_the_table(market: Path) -> None:
    run(market)
    before = tables.read(tables.Benchmark, "data/benchmark/set/images.parquet").set_index("path")
    path = "market/query/0001_c1s1_001051_00.jpg"
    assert before.sha256[path] == work.sha256(Path(path))
    cv2.imwrite(path, np.zeros((8, 4, 3), np.uint8))
    run(market)
    after = tables.read(tables.Benchmark, "data/benchmark/set/images.parquet").set_index("path")
    assert after.index[after.sha256 != before.sha256].tolist() == [path]


def test_the_layout_that_was_found_is_written_down(market: Path, msmt17: Callable) -> None:
    run(market, "auto")
    assert (
        json.loads(Path("data/benchmark/set/benchmark.json").read_text())["layout"] == "market1501"
    )
    run(msmt17(), "auto")
    about = json.loads(Path("data/benchmark/set/benchmark.json").read_text())
    assert about["layout"] == "msmt17" and about["cameras_of"] == {
        "train": 3,
        "query": 1,
        "gallery": 2,
    }


def test_what_is_doubtful_is_said(market: Path, capsys: pytest.CaptureFixture) -> None:
    image = (market / "bounding_box_train/0002_c1s1_000451_03.jpg").read_bytes()
    (market / "bounding_box_test/0000_c1s1_000151_01.jpg").write_bytes(image)
    run(market)
    assert (
        "benchmark: warning: 1 images of query and gallery are training images too"
        in capsys.readouterr().out
    )


ROOMS = """
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts.base import Layout
from cion_core.config import Section

SPLITS = {"train": "train", "probe": "query", "others": "gallery"}


class Rooms(Layout):
    about = "SPLIT/PERSON/CAMERA_n.jpg; nobody is a folder of strangers"

    class Settings(Section):
        ending: str = ".jpg"

    def read(self, folder: Path) -> pd.DataFrame:
        rows = []
        for name, split in SPLITS.items():
            for path in sorted((folder / name).glob("*/*" + self.settings.ending)):
                person = 0 if path.parent.name == "nobody" else int(path.parent.name) + 1  # theirs count from 0
                rows.append((str(path), split, person, int(path.name.partition("_")[0])))
        return pd.DataFrame(rows, columns=["path", "split", "person", "camera"])
"""


@pytest.fixture
def rooms(workspace: Path, own_file: Callable) -> Path:
    """A set of another shape, and a file that reads it."""
    own_file(ROOMS)
    for name in ("train/0/1_0", "train/1/2_0", "probe/2/1_0", "others/2/2_0", "others/nobody/2_0"):
        path = workspace / "set" / f"{name}.png"
        picture(path)
    return workspace / "set"


def test_a_layout_in_one_file_of_the_users(rooms: Path) -> None:
    run("set", "mine.Rooms", mine={"Rooms": {"ending": ".png"}})
    table = tables.read(tables.Benchmark, "data/benchmark/set/images.parquet")
    assert table.path.tolist()[:2] == ["set/train/0/1_0.png", "set/train/1/2_0.png"]
    assert table.split.tolist() == ["train", "train", "query", "gallery", "gallery"]
    assert table.person.tolist() == [1, 2, 3, 3, 0] and table.camera.tolist() == [1, 2, 1, 2, 2]
    about = json.loads(Path("data/benchmark/set/benchmark.json").read_text())
    assert about["images"] == {"train": 2, "query": 1, "gallery": 2} and about["people"] == {
        "train": 2,
        "test": 1,
    }


def test_a_layout_that_finds_nothing_or_nonsense_is_named(rooms: Path) -> None:
    with pytest.raises(
        CionError, match=r"set, read in the layout mine\.Rooms: no images in train, query, gallery"
    ):
        run("set", "mine.Rooms")
    (rooms / "train/0/1_0.png").rename(rooms / "train/0/0_0.png")
    with pytest.raises(CionError, match=r"(?s)layout mine\.Rooms: not a table of images.*camera"):
        run("set", "mine.Rooms", mine={"Rooms": {"ending": ".png"}})


def test_an_unknown_layout_names_those_there_are() -> None:
    with pytest.raises(
        ValueError,
        match="unknown benchmark layout 'msmt'; valid are auto, market1501, msmt17, "
        "msmt17_market, or",
    ):
        Benchmark.model_validate({"sources": {"set": "set"}, "layout": "msmt"})


def test_a_world_is_rendered_anew_whatever_the_layout(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(source: Path, folder: Path) -> None:
        for split, names in MARKET.items():
            for name in names:
                picture(folder / split / name)

    (rooms / "world.yaml").touch()
    monkeypatch.setattr(stage.rendered, "benchmark", render)
    run("set", "mine.Rooms", mine={"Rooms": {}})
    table = tables.read(tables.Benchmark, "data/benchmark/set/images.parquet")
    assert (
        table.path[0] == "data/benchmark/set/bounding_box_train/0002_c1s1_000451_03.jpg"
        and len(table) == 10
    )
