"""One listed clip to its row in the table of videos, or the reason why it is none.

A worker process runs this.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cion_core import work
from cion_core.ingest import sequence, video
from cion_core.ingest.footage import should_be_video


@dataclass(frozen=True)
class Clip:
    """A clip of the listing.

    Attributes:
        name: the video's name: its path relative to the source.
        path: the file, or the folder of a sequence.
        digest: the SHA-256 that the listing has made; None of what was just rendered.
        fps: frames a second, of a sequence.
        copy: where it is copied to first; None: it stays where it is.
    """

    name: str
    path: Path
    digest: str | None = None
    fps: float | None = None
    copy: Path | None = None


def register(clip: Clip, tool: None, report: Callable[[int], None]) -> dict:
    """Probe a clip, and copy it if that is wanted.

    Args:
        clip: the clip.
        tool: not used.
        report: is called with 0 again and again, as a sign of life.

    Returns:
        A row of tables.Videos with `replaced` beside (see `video.Probe`); {video, reason} where it
        cannot be used, with `other: True` if it is no video and is not named as one.
    """
    try:
        probe = video.probe(clip.path, clip.fps, report)
    except video.BadVideo as reason:
        row = {"video": clip.name, "reason": str(reason)}
        is_other = isinstance(reason, video.NoVideo) and not should_be_video(clip.name)
        return row | {"other": True} if is_other else row
    path = _copy(clip, report) if clip.copy else clip.path
    return {
        "video": clip.name,
        "path": path.as_posix(),
        "sha256": clip.digest or work.sha256(path),
        "fps": probe.fps,
        "frames": probe.frames,
        "width": probe.width,
        "height": probe.height,
        "group": Path(clip.name).parent.as_posix(),
        "replaced": probe.replaced,
    }


def _copy(clip: Clip, report: Callable[[int], None]) -> Path:
    """Copy a clip, of a sequence the images and its seqinfo.ini, and return where it is now."""
    files = [clip.path]
    if clip.path.is_dir():
        info = clip.path / sequence.INFO
        files = [*sequence.find_images(clip.path).paths]
        if info.is_file():
            files.append(info)
    for file in files:
        target = clip.copy / file.relative_to(clip.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        report(0)
    return clip.copy
