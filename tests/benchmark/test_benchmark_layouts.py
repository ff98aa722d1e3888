"""Market-1501's folders, MSMT17 in them, and finding out which layout a folder is in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_benchmarks import MARKET, MSMT17, picture

from cion_core.benchmark import stage
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.errors import CionError


def read(folder: Path, layout: str = "market1501") -> pd.DataFrame:
    return stage.read_layout(LAYOUTS.named(layout)(), folder)


def found(folder: Path) -> str:
    return LAYOUTS.named("auto")().of_folder(folder).name


@pytest.fixture
def converted(workspace: Path) -> Callable[..., Path]:
    """Makes an MSMT17 in Market-1501's folders, its names as `name` writes them."""

    def make(name: Callable[[int, int, int], str]) -> Path:
        people = {
            "bounding_box_train": [(0, 1), (0, 14), (1, 2)],
            "query": [(0, 3)],
            "bounding_box_test": [(0, 15)],
        }
        for folder, seen in people.items():
            for i, (person, camera) in enumerate(seen):
                picture(workspace / "converted" / folder / name(person, camera, i))
        return Path("converted")

    return make


WAYS = {
    "numbered": lambda person, camera, i: f"{person:04}_c{camera}_{i:04}.jpg",
    "as Market-1501": lambda person, camera, i: f"{person:04}_c{camera}s1_{i:06}_00.jpg",
    "its own": lambda person, camera, i: f"{person:04}_{i:03}_{camera:02}_0303morning_0015_0.jpg",
}


def test_market_1501_is_read_from_its_folders_and_names(market: Path) -> None:
    table = read(market)
    assert table.path.tolist() == [
        f"market/{folder}/{name}" for folder, names in MARKET.items() for name in sorted(names)
    ]
    assert table.split.tolist() == ["train"] * 3 + ["query"] * 2 + ["gallery"] * 5
    assert table.person.tolist() == [2, 2, 7, 1, 3, -1, 0, 1, 1, 3]
    assert table.camera.tolist() == [1, 2, 3, 1, 4, 1, 1, 1, 2, 4]


@pytest.mark.parametrize(
    ("name", "person", "camera"),
    [
        ("0005_c2_f0046985.jpg", 5, 2), ("0005_c1_301.png", 5, 1), ("12345_c15s1_1.JPG", 12345, 15),
        ("0005_c1_1.JPEG", 5, 1), ("0005_c1_2.bmp", 5, 1), ("0005_c1_3.WebP", 5, 1),
    ],
)  # fmt: skip
def test_names_of_similar_benchmarks_tell_person_and_camera(
    market: Path, name: str, person: int, camera: int
) -> None:
    (market / "query" / name).write_bytes(b"")
    row = read(market).set_index("path").loc[f"market/query/{name}"]
    assert (row.person, row.camera) == (person, camera)


def test_missing_folders_are_named(market: Path) -> None:
    (market / "query").rename(market / "queries")
    with pytest.raises(
        CionError, match=r"market: no folder query; a benchmark has bounding_box_train, query, "
    ):
        read(market)


def test_the_folder_inside_that_would_be_right_is_named(market: Path) -> None:
    for name in ("detected", "labeled"):
        Path("cuhk03-np").mkdir(exist_ok=True)
        Path("cuhk03-np", name).symlink_to(market.absolute())
    Path("cuhk03-np/notes").mkdir()
    with pytest.raises(CionError, match=r"did you mean cuhk03-np/detected or cuhk03-np/labeled\?$"):
        read(Path("cuhk03-np"))


def test_names_that_tell_nothing_are_listed(market: Path) -> None:
    for i in range(7):
        (market / "query" / f"img{i}.jpg").write_bytes(b"")
    with pytest.raises(
        CionError,
        match=r"query: 7 of 9 names tell no person and camera: img0\.jpg, .*img4\.jpg; valid",
    ):
        read(market)


def test_camera_zero_is_refused(market: Path) -> None:
    (market / "query" / "0001_c0_1.jpg").write_bytes(b"")
    with pytest.raises(CionError, match=r"0001_c0_1\.jpg.*cameras from 1"):
        read(market)


def test_an_empty_folder_is_named(market: Path) -> None:
    for path in (market / "bounding_box_train").glob("*.jpg"):
        path.unlink()
    with pytest.raises(CionError, match="bounding_box_train: no images"):
        read(market)


@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_person_0_in_training_or_query_is_somebody(
    folder: str, market: Path, capsys: pytest.CaptureFixture
) -> None:
    before = read(market).set_index("path").person
    picture(market / folder / "0000_c1_0001.jpg")
    after = read(market).set_index("path").person
    assert after[f"market/{folder}/0000_c1_0001.jpg"] == 1
    # Junk stays junk; all others count from 1 now.
    expected = before.where(before == -1, before + 1)
    assert after.drop(f"market/{folder}/0000_c1_0001.jpg").equals(expected)
    assert "person 0 is in training or query, so people count from 0" in capsys.readouterr().out


def test_a_stray_picture_is_left_out(market: Path) -> None:
    before = read(market)
    picture(market / "query" / "Screenshot.png")
    assert read(market).equals(before)


@pytest.mark.parametrize("way", WAYS)
def test_converted_msmt17_loses_nobody(way: str, converted: Callable) -> None:
    folder = converted(WAYS[way])
    table = read(folder, "msmt17_market")
    people = sorted(zip(table.split, table.person, table.camera, strict=True))
    assert people == [
        ("gallery", 1, 15),
        ("query", 1, 3),
        ("train", 1, 1),
        ("train", 1, 14),
        ("train", 2, 2),
    ]
    assert found(folder) == "msmt17_market"


def test_converted_msmt17_keeps_junk_and_has_no_distractors(converted: Callable) -> None:
    folder = converted(WAYS["numbered"])
    for name in ("-1_c3_0001.jpg", "0000_c3_0001.jpg"):
        (folder / "bounding_box_test" / name).write_bytes(b"")
    test = read(folder, "msmt17_market").set_index("path").person
    assert test["converted/bounding_box_test/-1_c3_0001.jpg"] == -1
    assert test["converted/bounding_box_test/0000_c3_0001.jpg"] == 1


def test_the_layout_is_found_and_said(
    market: Path, msmt17: Callable, capsys: pytest.CaptureFixture
) -> None:
    assert found(market) == "market1501" and found(msmt17()) == "msmt17"
    assert found(msmt17("mask_train_v2", "mask_test_v2", "second")) == "msmt17"
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "benchmark: market is in the layout market1501: bounding_box_train/, query/"
    )
    assert read(market, "auto").equals(read(market))


@pytest.mark.parametrize("other", ["images of cars", "nothing", "half"])
def test_a_folder_that_fits_none_hears_what_each_expects(other: str, market: Path) -> None:
    if other == "images of cars":  # train/ and test/ as many sets have them, but other names
        for name in ("train/0001/car.jpg", "test/0001/car.jpg"):
            picture(Path(other, name))
    elif other == "half":
        (market / "bounding_box_test").rename("gallery")
    else:
        Path(other).mkdir()
    with pytest.raises(CionError) as error:
        found(market if other == "half" else Path(other))
    first, *rest = str(error.value).splitlines()
    assert first.endswith(": it is in no layout that is known")
    assert [line.partition(":")[0].strip() for line in rest] == [
        "market1501",
        "msmt17",
        "msmt17_market",
    ]


def test_the_parent_is_told_from_the_set(market: Path, msmt17: Callable) -> None:
    Path("sets").mkdir()
    market.rename("sets/Market-1501-v15.09.15")
    msmt17(folder="sets/MSMT17_V1")
    with pytest.raises(
        CionError,
        match=r"did you mean sets/MSMT17_V1 or sets/Market-1501-v15\.09\.15\?\n  market1501: ",
    ):
        found(Path("sets"))


def test_a_folder_that_fits_several_is_to_be_named(market: Path, msmt17: Callable) -> None:
    msmt17(folder="market")
    with pytest.raises(
        CionError, match=r"market: it fits market1501 and msmt17; say which in benchmark\.layout"
    ):
        found(market)
    assert len(read(market, "msmt17")) == sum(map(len, MSMT17.values()))
