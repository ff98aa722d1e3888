"""The videos that a user names, as one folder of links: every name stays, and none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cion_core import folders
from cion_core.errors import CionError
from cion_core.identify.sources import lay_out


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.as_posix().encode())
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folders.files(folder))


def test_files_keep_the_name_of_their_folder_and_folders_theirs(tmp_path: Path) -> None:
    one, two = touched(tmp_path / "left/a.mp4"), touched(tmp_path / "right/deep/b.mp4")
    lay_out([one, tmp_path / "right"], tmp_path / "sources")
    assert names(tmp_path / "sources") == ["left/a.mp4", "right/deep/b.mp4"]
    assert (tmp_path / "sources/right/deep/b.mp4").read_bytes() == two.read_bytes()


def test_equal_names_of_folders_and_files_stay_apart(tmp_path: Path) -> None:
    for place in ("x", "y", "z"):
        touched(tmp_path / place / "cam/a.mp4")
    lay_out(
        [tmp_path / "x/cam/a.mp4", tmp_path / "y/cam", tmp_path / "z/cam/a.mp4"],
        tmp_path / "sources",
    )
    assert names(tmp_path / "sources") == ["cam-2/a.mp4", "cam-3/a.mp4", "cam/a.mp4"]
    assert (tmp_path / "sources/cam-3/a.mp4").read_text().endswith("z/cam/a.mp4")


def test_a_file_that_is_named_twice_is_one_video(tmp_path: Path) -> None:
    one = touched(tmp_path / "cam/a.mp4")
    lay_out([one, one], tmp_path / "sources")
    assert names(tmp_path / "sources") == ["cam/a.mp4"]


def test_what_was_laid_out_before_is_gone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lay_out([touched(tmp_path / f"cam/{name}.mp4")], tmp_path / "sources")
    assert names(tmp_path / "sources") == ["cam/b.mp4"] and (tmp_path / "cam/a.mp4").is_file()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CionError, match=r"none\.mp4: no such file or folder"):
        lay_out([tmp_path / "none.mp4"], tmp_path / "sources")
