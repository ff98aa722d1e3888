"""The ingest stage: the demo world's videos, or the user's own, into data/raw.

`group` of a video is the folder that it lies in, relative to the source, "." for the source itself:
clips of one camera belong in one folder. Files are opened in worker processes alone, so that none
can end the stage.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd

from cion_core import crew, folders, progress, rendered, tables, work
from cion_core.errors import CionError
from cion_core.ingest import footage
from cion_core.ingest.register import Clip, register
from cion_core.ingest.settings import Ingest
from cion_core.runtime import Runtime

LISTING = Path("listing/videos.json")  # what `cion list` found in the source
NAMED = 20  # clips that a message names


def run(section: Ingest, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Probe the clips of the listing, and write what they are.

    The clips are those of listing/videos.json, with their hashes. They are probed where they are,
    or copied into raw/videos with `ingest.import`; of a world they are rendered there. What cannot
    be used is set aside with a reason. It writes raw/videos.parquet, raw/truth.parquet,
    raw/ingest.json.

    Args:
        section: the section `ingest`.
        runtime: not used; stages are called alike.
        root: the folder that stages write.

    Raises:
        CionError: no clip can be used; or the listing is missing or of another source.
    """
    # 1. The clips.
    listed = _read_listing(section, root / LISTING)
    source = folders.portable(section.source, "videos", root)
    videos = root / "raw" / "videos"
    shutil.rmtree(videos, ignore_errors=True)
    videos.mkdir(parents=True)
    truth = tables.empty(tables.Truth)
    aside = []
    if "world" in listed:
        progress.say(f"ingest: rendering the world of {section.source}")
        truth = rendered.videos(Path(section.source), videos)
        paths = footage.find(videos).clips
        clips = [Clip(path.relative_to(videos).as_posix(), path) for path in paths]
    else:
        readable = [file for file in listed["files"] if "reason" not in file]
        unreadable = [file for file in listed["files"] if "reason" in file]
        clips = [_make_clip(file, source, section, videos) for file in readable]
        aside = [
            {"video": file["name"], "reason": f"cannot be read: {file['reason']}"}
            for file in unreadable
        ]

    # 2. What each of them is.
    rows = _register_all(clips, section.source)
    usable = [row for row in rows if "reason" not in row]
    unusable = [row for row in rows if "reason" in row]
    others = [row for row in unusable if row.get("other")]
    aside += [row for row in unusable if not row.get("other")]
    aside = sorted(aside, key=lambda row: row["video"])
    clocks = {row["video"]: row["replaced"] for row in usable if row["replaced"]}
    passed_over = Counter(listed.get("passed_over", {}))
    passed_over.update(footage.suffix(Path(row["video"])) for row in others)
    counts = footage.by_frequency(passed_over)
    _tell(aside, clocks, counts)
    if not usable:
        raise CionError(_explain_nothing(section, aside))

    # 3. The tables and the report.
    table = pd.DataFrame(usable).drop(columns="replaced")
    tables.write(tables.Truth, truth, root / "raw" / "truth.parquet")
    tables.write(tables.Videos, table, root / "raw" / "videos.parquet")
    report = {
        "source": section.source,
        "videos": len(usable),
        "set_aside": aside,
        "passed_over": counts,
        "clocks": clocks,
    }
    work.write_json(root / "raw" / "ingest.json", report)
    progress.say(f"ingest: {len(usable)} videos, {len(aside)} set aside")


def _register_all(clips: list[Clip], source: str) -> list[dict]:
    """Register all clips in worker processes; what became of each, in order of their names."""
    progress.say(f"ingest: probing {len(clips)} videos of {source}")
    processes = max(1, min(len(clips), os.cpu_count() or 1))
    outcomes = crew.work(clips, register, processes)
    rows = []
    for outcome in progress.track(outcomes, "ingest", "videos", len(clips)):
        failed = {"video": outcome.job.name, "reason": outcome.failure}
        rows.append(failed if outcome.failure else outcome.result)
    return sorted(rows, key=lambda row: row["video"])


def _make_clip(file: dict, source: Path, section: Ingest, videos: Path) -> Clip:
    """The clip of a file or sequence of the listing, which lies below `source`."""
    name = file["name"]
    path = source / file.get("at", name)
    fps = file.get("fps") or section.sequence_fps
    copy = videos / name if section.import_ else None
    return Clip(name, path, file["sha256"], fps, copy)


def _tell(aside: list[dict], clocks: dict[str, str], passed_over: dict[str, int]) -> None:
    """Say what is not used, and whose clock was replaced."""
    for row in aside:
        progress.say(f"ingest: {row['video']} set aside: {row['reason']}")
    for name, replaced in clocks.items():
        progress.say(f"ingest: {name}: {replaced}")
    if passed_over:
        progress.say(f"ingest: {footage.in_words(passed_over)}")


def _explain_nothing(section: Ingest, aside: list[dict]) -> str:
    """The message that there is no video to use."""
    extensions = " ".join(footage.EXTENSIONS)
    named = "".join(f"\n  {row['video']}: {row['reason']}" for row in aside[:NAMED])
    return (
        f"ingest.source {section.source}: no usable video at any depth of "
        f"{Path(section.source).absolute()} (looked for {extensions}, and whatever else the "
        f"decoder can open){named}"
    )


def _read_listing(section: Ingest, path: Path) -> dict:
    """Read what is listed of the source; see `listing.list_videos`."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; `cion list` writes it (`dvc repro`)") from None
    if listed["source"] != section.source:
        raise CionError(
            f"{path}: of {listed['source']}, and ingest.source is {section.source}; run `cion "
            "list` again"
        )
    return listed
