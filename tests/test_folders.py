"""Walks over folders of a user's."""

from __future__ import annotations

from pathlib import Path

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
    assert [path.relative_to(source).as_posix() for path in folders.files(source)] == ["camera/a.mp4", "lost.mp4"]
