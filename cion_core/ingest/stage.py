"""The ingest stage: the demo world's videos, or the user's own, into data/raw.

`group` of a video is the folder that it lies in, relative to the source, "." for the source itself: clips of one
camera belong in one folder.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cion_core import progress, tables, work
from cion_core.errors import CionError
from cion_core.ingest import video
from cion_core.params import Ingest
from demo_world import load_world, render_videos


def run(p: Ingest, root: Path = Path("data")) -> None:
    """Write raw/videos.parquet, raw/truth.parquet, raw/ingest.json and, for a world, raw/videos/*.

    A user's clips are found at any depth, probed and hashed where they are. What cannot be used is set aside with
    a reason; CionError if that is everything.
    """
    source = _folder(p.source)
    raw = root / "raw"
    shutil.rmtree(raw / "videos", ignore_errors=True)
    (raw / "videos").mkdir(parents=True)
    truth = tables.empty(tables.Truth)
    world = load_world(source)
    if world is not None:
        progress.say(f"ingest: rendering the world of {source}")
        source = raw / "videos"
        truth = render_videos(world, source)
    paths = video.find(source)
    progress.say(f"ingest: probing and hashing {len(paths)} videos of {source}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and hashing both let go of the interpreter
        results = pool.map(lambda path: _register(source, path), paths)
        rows = list(progress.track(results, "ingest", "videos", len(paths)))
    aside = [row for row in rows if "reason" in row]
    usable = [row for row in rows if "reason" not in row]
    for row in aside:
        progress.say(f"ingest: {row['video']} set aside: {row['reason']}")
    if not usable:
        raise CionError(
            f"ingest.source {p.source}: no usable video at any depth of {source.absolute()} "
            f"(looked for {' '.join(video.EXTENSIONS)})"
            + "".join(f"\n  {row['video']}: {row['reason']}" for row in aside[:20])
        )
    tables.write(tables.Truth, truth, raw / "truth.parquet")
    tables.write(tables.Videos, pd.DataFrame(usable), raw / "videos.parquet")
    work.write_json(raw / "ingest.json", {"source": p.source, "videos": len(usable), "set_aside": aside})
    progress.say(f"ingest: {len(usable)} videos, {len(aside)} set aside")


def _folder(source: str) -> Path:
    if source.startswith("~"):
        raise CionError(
            f"ingest.source {source}: DVC does not know ~; write the folder out: {Path(source).expanduser()}"
        )
    path = Path(source)
    if not path.is_dir():
        what = "is a file; name the folder that it lies in" if path.is_file() else "no such folder"
        raise CionError(f"ingest.source {source}: {what} (a folder of videos, or one with a world.yaml)")
    return path


def _register(source: Path, path: Path) -> dict:
    """A row of tables.Videos, or {video, reason}."""
    name = path.relative_to(source)
    try:
        probe = video.probe(path)
        digest = work.sha256(path)
    except video.BadVideo as reason:
        return {"video": name.as_posix(), "reason": str(reason)}
    except OSError as error:
        return {"video": name.as_posix(), "reason": f"cannot be read: {error.strerror}"}
    return {
        "video": name.as_posix(),
        "path": path.as_posix(),
        "sha256": digest,
        "fps": probe.fps,
        "frames": probe.frames,
        "width": probe.width,
        "height": probe.height,
        "group": name.parent.as_posix(),
    }
