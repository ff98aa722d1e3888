"""Which files of a folder are footage."""

from __future__ import annotations

from pathlib import Path

from cion_core.ingest import footage


def test_find_looks_at_any_depth_and_case_but_not_at_hidden_names(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.mkv", "a/b/d.webm", "notes.txt", "a/._c.mkv", ".cache/e.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in footage.find(tmp_path)]
    assert found == ["a/b/d.webm", "a/c.mkv", "b.MP4"]


def test_find_follows_links_to_folders_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.mp4").touch()
    source = tmp_path / "source"
    source.mkdir()
    (source / "camera").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(source)
    assert [path.relative_to(source).as_posix() for path in footage.find(source)] == ["camera/a.mp4"]
