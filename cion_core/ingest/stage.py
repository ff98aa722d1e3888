"""The ingest stage: the demo world's videos, or the user's own, into data/raw.

`group` of a video is the folder that it lies in, relative to the source, "." for the source itself: clips of one
camera belong in one folder.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cion_core import folders, progress, rendered, tables, work
from cion_core.errors import CionError
from cion_core.ingest import footage, video
from cion_core.ingest.settings import Ingest
from cion_core.runtime import Runtime

LISTING = Path("listing/videos.json")  # what `cion list` found in the source


def run(p: Ingest, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write raw/videos.parquet, raw/truth.parquet, raw/ingest.json and, for a world, raw/videos/*.

    The clips are those of listing/videos.json, with their hashes; they are probed where they are. What cannot be used
    is set aside with a reason; CionError if that is everything.
    """
    source, listed = folders.portable(p.source, "videos", root), _listed(p, root / LISTING)
    raw = root / "raw"
    shutil.rmtree(raw / "videos", ignore_errors=True)
    (raw / "videos").mkdir(parents=True)
    truth = tables.empty(tables.Truth)
    if "world" in listed:
        progress.say(f"ingest: rendering the world of {source}")
        truth = rendered.videos(source, raw / "videos")
        source = raw / "videos"
        clips = [{"name": path.relative_to(source).as_posix()} for path in footage.find(source)]
    else:
        clips = listed["files"]
    progress.say(f"ingest: probing {len(clips)} videos of {source}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and hashing both let go of the interpreter
        results = pool.map(lambda clip: _register(source, clip), clips)
        rows = list(progress.track(results, "ingest", "videos", len(clips)))
    aside = [row for row in rows if "reason" in row]
    usable = [row for row in rows if "reason" not in row]
    for row in aside:
        progress.say(f"ingest: {row['video']} set aside: {row['reason']}")
    if not usable:
        raise CionError(
            f"ingest.source {p.source}: no usable video at any depth of {source.absolute()} "
            f"(looked for {' '.join(footage.EXTENSIONS)})"
            + "".join(f"\n  {row['video']}: {row['reason']}" for row in aside[:20])
        )
    tables.write(tables.Truth, truth, raw / "truth.parquet")
    tables.write(tables.Videos, pd.DataFrame(usable), raw / "videos.parquet")
    work.write_json(raw / "ingest.json", {"source": p.source, "videos": len(usable), "set_aside": aside})
    progress.say(f"ingest: {len(usable)} videos, {len(aside)} set aside")


def _listed(p: Ingest, path: Path) -> dict:
    """What is listed of the source: {source, world} or {source, files: [{name, size, sha256} or {name, reason}]}."""
    try:
        listed = json.loads(path.read_text())
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; `cion list` writes it (`dvc repro`)") from None
    if listed["source"] != p.source:
        raise CionError(f"{path}: of {listed['source']}, and ingest.source is {p.source}; run `cion list` again")
    return listed


def _register(source: Path, clip: dict) -> dict:
    """A row of tables.Videos, or {video, reason}, of a listed clip; what was rendered has no hash yet."""
    name, path = clip["name"], source / clip["name"]
    if "reason" in clip:
        return {"video": name, "reason": f"cannot be read: {clip['reason']}"}
    try:
        probe = video.probe(path)
        digest = clip.get("sha256") or work.sha256(path)
    except video.BadVideo as reason:
        return {"video": name, "reason": str(reason)}
    except OSError as error:
        return {"video": name, "reason": f"cannot be read: {error.strerror}"}
    return {
        "video": name,
        "path": path.as_posix(),
        "sha256": digest,
        "fps": probe.fps,
        "frames": probe.frames,
        "width": probe.width,
        "height": probe.height,
        "group": Path(name).parent.as_posix(),
    }
