"""Folders of images: both layouts, and errors that name the images that fit neither."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cion_core import tables
from cion_core.errors import CionError
from cion_core.external import annotations, image_folders


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_luperson_nl_as_its_script_writes_it(tmp_path: Path) -> None:
    for name in (
        "usa/ny/AbC-1/000003_0000120_01.jpg",
        "usa/ny/AbC-1/000003_0000125_00.jpg",
        "usa/ny/AbC-1/1000000_0000125_02.jpg",
        "usa/la/d_2/000003_0000007_00.jpg",
    ):
        put(tmp_path / name)
    put(tmp_path / "usa/.DS_Store")
    put(tmp_path / "usa/ny/AbC-1/notes.txt")
    crops, _ = image_folders.read(tmp_path)
    assert crops.path.tolist() == sorted(crops.path) and crops.crop.tolist() == [0, 1, 2, 3]
    assert crops.video.tolist() == ["usa/la/d_2"] + ["usa/ny/AbC-1"] * 3
    assert crops.frame.tolist() == [7, 120, 125, 125]
    assert crops.tracklet.tolist() == [1, 2, 2, 3]  # person 3 of another video is another tracklet


def test_plain_folders_are_videos_of_tracklets(tmp_path: Path) -> None:
    names = ["cam/v1/t1/frame_0012.jpg", "cam/v1/t1/13.PNG", "cam/v1/t2/12.jpeg", "v2/t1/0.jpg"]
    for name in names:
        put(tmp_path / name)
    crops, _ = image_folders.read(tmp_path)
    assert crops.path.tolist() == sorted(names)
    assert crops.video.tolist() == ["cam/v1"] * 3 + ["v2"]
    assert crops.frame.tolist() == [13, 12, 12, 0]
    assert crops.tracklet.tolist() == [1, 1, 2, 3]


@pytest.mark.parametrize(
    "name",
    [
        "v/t/none.jpg",
        "v/t/cam1_12.jpg",  # which number is the frame?
        "t/12.jpg",  # no video
        "usa/ny/v/000003_0000120_01.jpg",  # LUPerson-NL's, among others
        "v/t/99999999999999999999.jpg",
    ],
)
def test_images_of_no_layout_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path / "v/t/1.jpg")
    put(tmp_path / name)
    with pytest.raises(
        CionError, match=f"1 of 2 images fit no layout, first .*{name}.*VIDEO/TRACKLET/FRAME"
    ):
        image_folders.read(tmp_path)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "v/t/1.txt")
    with pytest.raises(CionError, match="no images"):
        image_folders.read(tmp_path)
    with pytest.raises(CionError, match="no such folder"):
        image_folders.read(tmp_path / "none")


def test_a_folders_result_is_what_cion_trains_on(tmp_path: Path) -> None:
    for name in ("v/a/1.jpg", "v/b/1.jpg", "w/a/1.jpg"):
        put(tmp_path / name)
    crops, _ = image_folders.read(tmp_path)
    identities = tables.validate(
        tables.Identities, pd.DataFrame({"crop": [0, 2], "identity": [1, 1]}), "here"
    )
    annotations.write(tmp_path / "a.json", crops.merge(identities, on="crop"))
    entries = json.loads((tmp_path / "a.json").read_text())
    assert len(entries) == 2 and all((tmp_path / entry["file_path"]).is_file() for entry in entries)
