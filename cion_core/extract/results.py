"""What each video yields: where it waits for the others, and how all of it is put together."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cion_core import progress, tables, work
from cion_core.errors import CionError
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract
from cion_core.ingest.video import Probe

NAMED = 20  # videos that a message names


@dataclass(frozen=True)
class Job:
    """One video to extract.

    Its results have its number for a name, for videos' names may be long, and equal in different
    folders.

    Attributes:
        number: its row in the table of videos.
        video: its name in the tables.
        path: its file or folder.
        probe: its rate, frames and size.
        folder: where its results wait for those of the others.
    """

    number: int
    video: str
    path: Path
    probe: Probe
    folder: Path

    @property
    def shard(self) -> str:
        """The name of the tar of its crops."""
        return f"{self.number:06d}.tar"

    @property
    def table(self) -> Path:
        """The table of its crops."""
        return self.folder / f"{self.number:06d}.parquet"

    @property
    def record(self) -> Path:
        """The file of its counts, or of why it is set aside; written last, so it is done then."""
        return self.folder / f"{self.number:06d}.json"


def gather(jobs: list[Job], failures: dict[str, str], section: Extract, out: Path) -> None:
    """Put the results of all videos together.

    Args:
        jobs: all of them, in the order of the table of videos.
        failures: of each video that a process died on or failed at twice, the reason.
        section: the section `extract`.
        out: the folder to write, which holds nothing else afterwards.

    Raises:
        CionError: no video shows anybody.
    """
    # 1. What is to be said of each video.
    records = [_read_record(job, failures) for job in jobs]
    aside = [record for record in records if "reason" in record]
    used = [record for record in records if "reason" not in record]
    _say_faults(aside, used, failures)
    if not used:
        raise CionError(_explain_nobody(aside, section))

    # 2. The tars and one table, in which crops and tracklets are numbered over all videos.
    shutil.rmtree(out, ignore_errors=True)
    (out / "crops").mkdir(parents=True)
    tables_of_videos = []
    first_crop = first_tracklet = 0
    for job, record in zip(jobs, records, strict=True):
        if "reason" in record:
            continue
        crops = tables.read(tables.Crops, job.table)
        numbered = crops.assign(
            crop=crops.crop + first_crop, tracklet=crops.tracklet + first_tracklet
        )
        tables_of_videos.append(numbered)
        first_crop += record["crops"]
        first_tracklet += record["tracklets"]
        # The record goes before the shard: killed between the two, the video is extracted again,
        # and not called done without its shard.
        job.record.unlink()
        shutil.move(job.folder / job.shard, out / "crops" / job.shard)
    columns = list(tables.Crops.to_schema().columns)
    tables.write(tables.Crops, pd.concat(tables_of_videos)[columns], out / "crops.parquet")

    # 3. The report.
    totals = {"tracklets": first_tracklet, "crops": first_crop}
    work.write_json(out / "extract.json", {**totals, "videos": used, "set_aside": aside})
    kept_out = sum((Counter(record["kept_out"]) for record in used), Counter())
    if kept_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in kept_out.items())
        progress.say(f"extract: kept out: {counts}")
    progress.say(
        f"extract: {first_crop} crops of {first_tracklet} tracklets from {len(used)} videos"
    )


def _say_faults(aside: list[dict], used: list[dict], failures: dict[str, str]) -> None:
    """Say which videos are set aside, damaged or truncated, and what to do about `failures`."""
    for record in aside:
        progress.say(f"extract: {record['video']} set aside: {record['reason']}")
    if failures:
        progress.say(
            f"extract: what to do about {', '.join(failures)}: extract again, or write the clip "
            "anew (ffmpeg -i CLIP -c:v libx264 NEW.mp4), or choose another extract.detector"
        )
    for record in used:
        if record["frames_damaged"]:
            progress.say(
                f"extract: {record['video']}: {record['frames_damaged']} frames are damaged, and "
                "are used"
            )
        if record["truncated"]:
            progress.say(
                f"extract: {record['video']} is truncated: {record['frames']} of "
                f"{record['frames_claimed']} frames could be decoded, and are used"
            )


def _explain_nobody(aside: list[dict], section: Extract) -> str:
    """The message that no video shows anybody, with the keys and detectors that may help."""
    reasons = "\n".join(f"  {record['video']}: {record['reason']}" for record in aside[:NAMED])
    others = [part for part in DETECTORS.all() if part.name != section.detector]
    detectors = "\n".join(f"  {part.name}: {part.about}" for part in others)
    return (
        f"no people in any of {len(aside)} videos:\n{reasons}\n"
        f"try a lower extract.min_height ({section.min_height}), extract.confidence "
        f"({section.confidence:g}) or extract.min_crops ({section.min_crops}), or another "
        f"extract.detector than {section.detector}:\n{detectors}"
    )


def _read_record(job: Job, failures: dict[str, str]) -> dict:
    """Read what is to be told of a video: its counts, or the reason why it is set aside.

    That processes died on it is not kept for a later run, which tries it anew: perhaps it was the
    machine's fault.
    """
    if job.video in failures:
        return {"video": job.video, "reason": failures[job.video]}
    return json.loads(job.record.read_text(encoding="utf-8"))
