"""MSMT17 as it is given out: both versions, with its lists and without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_benchmarks import MSMT17, picture

from cion_core.benchmark import stage
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.errors import CionError

VERSIONS = pytest.mark.parametrize(
    "folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")]
)


def read(folder: Path) -> pd.DataFrame:
    return stage.read_layout(LAYOUTS.named("msmt17")(), folder)


def rows(table: pd.DataFrame, below: Path) -> list[tuple]:
    names = [Path(path).relative_to(below).as_posix() for path in table.path]
    return list(zip(names, table.split, table.person, table.camera, strict=True))


@VERSIONS
def test_everybody_is_read_and_person_0_is_a_person(
    folders: tuple[str, str], msmt17: Callable
) -> None:
    train, test = folders
    folder = msmt17(train, test)
    assert rows(read(folder), folder) == [
        (f"{train}/0000/0000_000_01_0303morning_0015_0.jpg", "train", 1, 1),
        (f"{train}/0000/0000_001_05_0303morning_0020_0.jpg", "train", 1, 5),
        (f"{train}/0001/0001_000_14_0303noon_0016_1_ex.jpg", "train", 2, 14),
        (f"{test}/0000/0000_000_02_0113morning_0015_0.jpg", "query", 1, 2),
        (f"{test}/0000/0000_001_15_0113noon_0015_0.jpg", "gallery", 1, 15),
        (f"{test}/0001/0001_000_02_0114morning_0001_0.jpg", "gallery", 2, 2),
    ]


def test_without_lists_of_training_all_its_folder_is_trained_on(msmt17: Callable) -> None:
    whole = read(msmt17())
    for name in ("list_train.txt", "list_val.txt"):
        Path("msmt17", name).unlink()
    assert read(Path("msmt17")).equals(whole)


def test_one_list_of_training_alone_is_doubtful(msmt17: Callable) -> None:
    folder = msmt17()
    (folder / "list_val.txt").unlink()
    with pytest.raises(
        CionError,
        match=r"msmt17: list_train\.txt without the other of .*list_val\.txt.*all of train/",
    ):
        read(folder)


@VERSIONS
@pytest.mark.parametrize(
    "gone", [["list_query.txt"], ["list_gallery.txt"], ["list_query.txt", "list_gallery.txt"]]
)
def test_queries_are_not_guessed(
    gone: list[str], folders: tuple[str, str], msmt17: Callable
) -> None:
    folder = msmt17(*folders)
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(
        CionError,
        match=rf"msmt17: no {' and no '.join(gone)}; .*beside {folders[1]}/.*msmt17_market",
    ):
        read(folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "0000/0000_009_01_0303morning_0015_0.jpg 0",
            r"no file msmt17/test/0000/0000_009_01_0303morning_0015_0\.jpg",
        ),
        (
            "0001/0001_000_02_0114morning_0001_0.jpg 0",
            "is labelled 0, but lies in the folder of person 1",
        ),
        (
            "0000/0000_000_00_0113morning_0015_0.jpg 0",
            "tells no image, person and camera; valid: 0000/0000_000_01",
        ),
        ("0000/0000_000_02_0113morning_0015_0.jpg", "tells no image, person and camera"),
        ("0000_000_02_0113morning_0015_0.jpg 0", "tells no image, person and camera"),
        (
            "0000/0000_000_02_0113morning_0015_0.jpg 0",
            r"msmt17/test/0000/0000_000_02.* is listed twice",
        ),
    ],
)
def test_a_wrong_line_is_named(line: str, words: str, msmt17: Callable) -> None:
    folder = msmt17()
    with (folder / "list_query.txt").open("a") as file:
        file.write(f"\n{line}\r\n")
    with pytest.raises(CionError, match=rf"msmt17/list_query\.txt, line 3: .*{words}"):
        read(folder)


def test_the_first_wrong_lines_are_named_and_the_others_counted(msmt17: Callable) -> None:
    folder = msmt17()
    (folder / "list_gallery.txt").write_text(
        "".join(f"0000/0000_{i:03}_01_x.jpg 0\n" for i in range(40, 49))
    )
    with pytest.raises(CionError) as error:
        read(folder)
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == [
        f"msmt17/list_gallery.txt, line {i}" for i in range(1, 6)
    ]
    assert lines[5:] == ["and 4 lines more"]


def test_an_image_is_not_both_query_and_gallery(msmt17: Callable) -> None:
    folder = msmt17()
    (folder / "list_gallery.txt").write_text((folder / "list_query.txt").read_text())
    with pytest.raises(
        CionError,
        match=r"list_query\.txt and list_gallery\.txt share 1 images, such as msmt17/test/00",
    ):
        read(folder)


def test_both_versions_in_one_folder_are_too_many(msmt17: Callable) -> None:
    msmt17()
    with pytest.raises(
        CionError,
        match=r"msmt17: both versions of MSMT17.*train/ and test/ or mask_train_v2/ and mask_",
    ):
        read(msmt17("mask_train_v2", "mask_test_v2"))


def test_folders_that_are_not_there_are_named_and_the_right_one_found(msmt17: Callable) -> None:
    msmt17(folder="MSMT17/MSMT17_V1")
    with pytest.raises(
        CionError, match=r"MSMT17: MSMT17 has folders train/.*; did you mean MSMT17/MSMT17_V1\?"
    ):
        read(Path("MSMT17"))


def test_a_training_folder_without_lists_must_tell_person_and_camera(msmt17: Callable) -> None:
    folder = msmt17()
    for name in ("list_train.txt", "list_val.txt"):
        (folder / name).unlink()
    (folder / "train/0001/holiday.jpg").write_bytes(b"")
    with pytest.raises(
        CionError,
        match=r"msmt17/train: 1 of 4 images tell no person and camera: 0001/holiday\.jpg; val",
    ):
        read(folder)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MSMT17 without lists of training, so that the names of its images tell all."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("list_query.txt", "list_gallery.txt"):
        (folder / name).write_text("\n".join(MSMT17[name]) + "\n")
        for line in MSMT17[name]:
            picture(folder / "test" / line.split()[0])
    for name in ("list_train.txt", "list_val.txt"):
        for line in MSMT17[name]:
            picture(folder / "train" / line.split()[0])
    return folder


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5000), st.integers(0, 999), st.integers(1, 15), st.sampled_from(["", "_ex"]))
def test_a_name_tells_person_and_camera(
    bare: Path, person: int, number: int, camera: int, extra: str
) -> None:
    name = f"{person:04}/{person:04}_{number:03}_{camera:02}_0303morning_0015_0{extra}.jpg"
    picture(bare / "train" / name)
    found = rows(read(bare), bare)
    shutil.rmtree(bare / f"train/{person:04}")
    assert (f"train/{name}", "train", person + 1, camera) in found
