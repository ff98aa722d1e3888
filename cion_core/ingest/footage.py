"""Which files of a folder are footage. Light: nothing is opened, and no decoder is imported."""

from __future__ import annotations

from pathlib import Path

from cion_core import folders

EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf",
    ".flv", ".3gp", ".ogv", ".vob", ".mjpeg", ".mjpg",
)  # fmt: skip


def find(source: Path | str) -> list[Path]:
    """All video files below `source` by extension, sorted; see `folders.files`."""
    return folders.files(source, EXTENSIONS)
