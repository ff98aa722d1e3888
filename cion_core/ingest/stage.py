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


def run(p: Ingest, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Probe the clips of the listing, and write what they are.

    The clips are those of listing/videos.json, with their hashes. They are probed where they are,
    or copied into raw/videos with `ingest.import`; of a world they are rendered there. What cannot
    be used is set aside with a reason. It writes raw/videos.parquet, raw/truth.parquet,
    raw/ingest.json.

    Args:
        p: the section `ingest`.
        runtime: not used; stages are called alike.
        root: the folder that stages write.

    Raises:
        CionError: no clip can be used; or the listing is missing or of another source.
    """
    listed = _listed(p, root / LISTING)
    source = folders.portable(p.source, "videos", root)
    videos = root / "raw" / "videos"
    shutil.rmtree(videos, ignore_errors=True)
    videos.mkdir(parents=True)
    truth = tables.empty(tables.Truth)
    aside, passed_over = [], Counter(listed.get("passed_over", {}))
    if "world" in listed:
        progress.say(f"ingest: rendering the world of {p.source}")
        truth = rendered.videos(Path(p.source), videos)
        clips = [
            Clip(path.relative_to(videos).as_posix(), path) for path in footage.find(videos).clips
        ]
    else:
        clips = [_clip(file, source, p, videos) for file in listed["files"] if "reason" not in file]
        unreadable = [file for file in listed["files"] if "reason" in file]
        aside = [
            {"video": file["name"], "reason": f"cannot be read: {file['reason']}"}
            for file in unreadable
        ]
    rows = _registered(clips, p.source)
    usable = [row for row in rows if "reason" not in row]
    aside += [row for row in rows if "reason" in row and not row.get("other")]
    passed_over.update(footage.suffix(Path(row["video"])) for row in rows if row.get("other"))
    aside = sorted(aside, key=lambda row: row["video"])
    clocks = {row["video"]: row["replaced"] for row in usable if row["replaced"]}
    counts = footage.by_frequency(passed_over)
    _tell(aside, clocks, counts)
    if not usable:
        raise CionError(_nothing(p, aside))
    tables.write(tables.Truth, truth, root / "raw" / "truth.parquet")
    tables.write(
        tables.Videos,
        pd.DataFrame(usable).drop(columns="replaced"),
        root / "raw" / "videos.parquet",
    )
    report = {
        "source": p.source,
        "videos": len(usable),
        "set_aside": aside,
        "passed_over": counts,
        "clocks": clocks,
    }
    work.write_json(root / "raw" / "ingest.json", report)
    progress.say(f"ingest: {len(usable)} videos, {len(aside)} set aside")


def _registered(clips: list[Clip], source: str) -> list[dict]:
    """What became of each clip (see `register`), in order of their names."""
    progress.say(f"ingest: probing {len(clips)} videos of {source}")
    processes = max(1, min(len(clips), os.cpu_count() or 1))
    outcomes = crew.work(clips, register, processes)
    rows = []
    for outcome in progress.track(outcomes, "ingest", "videos", len(clips)):
        failed = {"video": outcome.job.name, "reason": outcome.failure}
        rows.append(failed if outcome.failure else outcome.result)
    return sorted(rows, key=lambda row: row["video"])


def _clip(file: dict, source: Path, p: Ingest, videos: Path) -> Clip:
    """A clip as the listing has it, below `source`."""
    path = source / file.get("at", file["name"])
    copy = videos / file["name"] if p.import_ else None
    return Clip(file["name"], path, file["sha256"], file.get("fps") or p.sequence_fps, copy)


def _tell(aside: list[dict], clocks: dict[str, str], passed_over: dict[str, int]) -> None:
    """Say what is not used, and whose clock was replaced."""
    for row in aside:
        progress.say(f"ingest: {row['video']} set aside: {row['reason']}")
    for name, replaced in clocks.items():
        progress.say(f"ingest: {name}: {replaced}")
    if passed_over:
        progress.say(f"ingest: {footage.in_words(passed_over)}")


def _nothing(p: Ingest, aside: list[dict]) -> str:
    """The message that there is no video to use."""
    looked_for = (
        f"(looked for {' '.join(footage.EXTENSIONS)}, and whatever else the decoder can open)"
    )
    named = "".join(f"\n  {row['video']}: {row['reason']}" for row in aside[:NAMED])
    return (
        f"ingest.source {p.source}: no usable video at any depth of {Path(p.source).absolute()} "
        f"{looked_for}{named}"
    )


def _listed(p: Ingest, path: Path) -> dict:
    """What is listed of the source; see `listing.list_videos`."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; `cion list` writes it (`dvc repro`)") from None
    if listed["source"] != p.source:
        raise CionError(
            f"{path}: of {listed['source']}, and ingest.source is {p.source}; run `cion list` again"
        )
    return listed
