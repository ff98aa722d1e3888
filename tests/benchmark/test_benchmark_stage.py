"""The benchmark stage, and folders in Market-1501's layout: read, checked, described."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cion_core import tables
from cion_core.benchmark import stage
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError

FILES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000776_01.jpg", "0007_c3s3_077419_03.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c4s6_015641_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0001_c1s1_001051_03.jpg", "0001_c2s1_001976_01.jpg",
        "0003_c4s6_015641_01.jpg",
    ],
}  # fmt: skip


@pytest.fixture
def market(workspace: Path) -> Path:
    """A tiny Market-1501: one query that can be found, one whose person is seen by no other camera."""
    for folder, names in FILES.items():
        (workspace / "market" / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            cv2.imwrite(str(workspace / "market" / folder / name), np.full((128, 64, 3), 20 * i, np.uint8))
        (workspace / "market" / folder / "Thumbs.db").write_bytes(b"not an image")
        (workspace / "market" / folder / "._0001_c1s1_000001_00.jpg").write_bytes(b"macOS leaves these")
    return Path("market")


def run(source: Path | str, layout: str = "market1501", **settings: object) -> None:
    stage.run(Benchmark.model_validate({"source": str(source), "layout": layout, **settings}))


def read(folder: Path) -> pd.DataFrame:
    return stage.read(LAYOUTS.named("market1501")(), folder)


def test_read(market: Path) -> None:
    table = read(market)
    assert table.path.tolist() == [
        f"market/{folder}/{name}" for folder, names in FILES.items() for name in sorted(names)
    ]
    assert table.split.tolist() == ["train"] * 3 + ["query"] * 2 + ["gallery"] * 5
    assert table.person.tolist() == [2, 2, 7, 1, 3, -1, 0, 1, 1, 3]
    assert table.camera.tolist() == [1, 2, 3, 1, 4, 1, 1, 1, 2, 4]


@pytest.mark.parametrize(
    ("name", "person", "camera"),
    [("0005_c2_f0046985.jpg", 5, 2), ("0005_c1_301.png", 5, 1), ("12345_c15s1_1.JPG", 12345, 15)],
)
def test_names_of_its_like(market: Path, name: str, person: int, camera: int) -> None:
    cv2.imwrite(f"market/query/{name}", np.zeros((8, 4, 3), np.uint8))
    row = read(market).set_index("path").loc[f"market/query/{name}"]
    assert (row.person, row.camera) == (person, camera)


def test_stage_references_the_folder(market: Path) -> None:
    run(market)
    table = tables.read(tables.Benchmark, "data/benchmark/images.parquet")
    assert all(Path(path).is_file() for path in table.path)
    assert json.loads(Path("data/benchmark/benchmark.json").read_text()) == {
        "name": "market", "source": "market", "people": {"train": 2, "test": 2},
        "images": {"train": 3, "query": 2, "gallery": 5}, "cameras": 4, "queries_without_match": 1,
    }  # fmt: skip
    assert sorted(path.name for path in Path("data/benchmark").iterdir()) == ["benchmark.json", "images.parquet"]


def test_a_query_without_a_match_is_reported(market: Path, capsys: pytest.CaptureFixture) -> None:
    run(market)
    assert "1 queries lack an image of their person under another camera" in capsys.readouterr().out


def test_no_query_with_a_match(market: Path) -> None:
    Path("market/query/0001_c1s1_001051_00.jpg").unlink()
    with pytest.raises(CionError, match="no query's person is in the gallery under another camera"):
        run(market)
    assert not Path("data/benchmark/images.parquet").exists()


def test_missing_folders_are_named(market: Path) -> None:
    (market / "query").rename(market / "queries")
    with pytest.raises(CionError, match=r"market: no folder query; a benchmark has bounding_box_train, query, "):
        run(market)


def test_missing_source() -> None:
    with pytest.raises(
        CionError, match=r"benchmark\.source: no folder nowhere; .*demo.* benchmark\.layout names, which is market1501"
    ):
        run("nowhere")


def test_names_that_tell_nothing_are_listed(market: Path) -> None:
    for i in range(7):
        (market / "query" / f"img{i}.jpg").write_bytes(b"")
    with pytest.raises(
        CionError, match=r"query: 7 of 9 names tell no person and camera: img0\.jpg, .*img4\.jpg; valid"
    ):
        run(market)


def test_camera_zero_is_refused(market: Path) -> None:
    (market / "query" / "0001_c0_1.jpg").write_bytes(b"")
    with pytest.raises(CionError, match=r"0001_c0_1\.jpg.*cameras from 1"):
        run(market)


def test_an_empty_folder(market: Path) -> None:
    for path in (market / "bounding_box_train").glob("*.jpg"):
        path.unlink()
    with pytest.raises(CionError, match="bounding_box_train: no images"):
        run(market)


def test_an_unreadable_image_is_named(market: Path) -> None:
    (market / "bounding_box_test" / FILES["bounding_box_test"][2]).write_bytes(b"\xff\xd8 torn")
    with pytest.raises(CionError, match=r"0001_c1s1_001051_03\.jpg: not a readable image"):
        run(market)


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
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 4, 3), np.uint8))
    return workspace / "set"


def test_a_layout_in_one_file_of_the_users(rooms: Path) -> None:
    run("set", "mine.Rooms", mine={"Rooms": {"ending": ".png"}})
    table = tables.read(tables.Benchmark, "data/benchmark/images.parquet")
    assert table.path.tolist()[:2] == ["set/train/0/1_0.png", "set/train/1/2_0.png"]
    assert table.split.tolist() == ["train", "train", "query", "gallery", "gallery"]
    assert table.person.tolist() == [1, 2, 3, 3, 0] and table.camera.tolist() == [1, 2, 1, 2, 2]
    about = json.loads(Path("data/benchmark/benchmark.json").read_text())
    assert about["images"] == {"train": 2, "query": 1, "gallery": 2} and about["people"] == {"train": 2, "test": 1}


def test_a_layout_that_finds_nothing_or_nonsense_is_named(rooms: Path) -> None:
    with pytest.raises(CionError, match=r"set, read in the layout mine\.Rooms: no images in train, query, gallery"):
        run("set", "mine.Rooms")
    (rooms / "train/0/1_0.png").rename(rooms / "train/0/0_0.png")
    with pytest.raises(CionError, match=r"(?s)layout mine\.Rooms: not a table of benchmark.*camera"):
        run("set", "mine.Rooms", mine={"Rooms": {"ending": ".png"}})


def test_an_unknown_layout_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown benchmark layout 'msmt'; valid are market1501, or"):
        Benchmark.model_validate({"source": "set", "layout": "msmt"})


def test_a_world_is_rendered_anew_whatever_the_layout(rooms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(source: Path, folder: Path) -> None:
        for split, names in FILES.items():
            (folder / split).mkdir(parents=True)
            for name in names:
                cv2.imwrite(str(folder / split / name), np.zeros((8, 4, 3), np.uint8))

    (rooms / "world.yaml").touch()
    monkeypatch.setattr(stage.rendered, "benchmark", render)
    run("set", "mine.Rooms", mine={"Rooms": {}})
    table = tables.read(tables.Benchmark, "data/benchmark/images.parquet")
    assert table.path[0] == "data/benchmark/bounding_box_train/0002_c1s1_000451_03.jpg" and len(table) == 10
