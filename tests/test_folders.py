"""Walks over folders of a user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cion_core import folders


def test_any_depth_and_case_but_no_hidden_names(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.mkv", "a/b/d.webm", "notes.txt", "a/._c.mkv", ".cache/e.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(*suffixes: str) -> list[str]:
        paths = folders.files(tmp_path, suffixes) if suffixes else folders.files(tmp_path)
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    assert found(".mp4", ".mkv", ".webm") == ["a/b/d.webm", "a/c.mkv", "b.MP4"]
    assert found() == ["a/b/d.webm", "a/c.mkv", "b.MP4", "notes.txt"]


def test_links_are_followed_once_and_broken_ones_are_files(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.mp4").touch()
    source = tmp_path / "source"
    source.mkdir()
    (source / "camera").symlink_to(tmp_path / "elsewhere")
    (source / "lost.mp4").symlink_to("nowhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(source)
    assert [path.relative_to(source).as_posix() for path in folders.files(source)] == [
        "camera/a.mp4",
        "lost.mp4",
    ]


def test_a_folder_outside_the_project_is_reached_by_a_link(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    data = Path("data")
    assert folders.portable("clips/day", "videos", data) == Path("clips/day")
    for place in (first, second, Path(os.path.relpath(first))):
        assert folders.portable(place, "videos", data) == data / "sources/videos"
        assert (data / "sources/videos").samefile(place)
    assert folders.portable(second, "benchmarks/market", data).samefile(second)
    assert (data / "sources/videos").samefile(first)
