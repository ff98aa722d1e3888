"""Which files of a folder are footage."""

from __future__ import annotations

from pathlib import Path

import pytest

from cion_core.ingest import footage


@pytest.mark.parametrize(
    ("name", "is_one"), [("b.MP4", True), ("c.mkv", True), ("notes.txt", False), ("._c.mkv", False)]
)
def test_videos_are_known_by_their_names(name: str, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / name).touch()
    assert footage.find(tmp_path) == [tmp_path / "camera" / name] * is_one
