"""The extract stage: every video's tracklets, in parallel, into data/tracklets.

What a video yields waits, complete, in a work folder until all are done: a killed run goes on with the rest.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd

from cion_core import progress, tables, work
from cion_core.errors import CionError
from cion_core.extract.cut import cut
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS
from cion_core.ingest import video
from cion_core.ingest.video import BadVideo, Probe
from cion_core.runtime import Runtime


@dataclass(frozen=True)
class Job:
    """One video to extract; `shard` (relative), `report` and `table` are where its results go."""

    video: str
    path: Path
    probe: Probe
    folder: Path

    @property
    def shard(self) -> str:
        return f"{self.video}.tar"  # the whole relative name: equal names in different folders stay apart

    @property
    def table(self) -> Path:
        return self.folder / f"{self.video}.parquet"

    @property
    def report(self) -> Path:
        """Written last: a video that has one is done."""
        return self.folder / f"{self.video}.json"


def run(p: Extract, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Read raw/videos.parquet; write tracklets/crops/*.tar, tracklets/crops.parquet and tracklets/extract.json.

    Videos that cannot be used or show nobody are set aside with a reason; CionError if that is all of them. The
    report holds no times, so that equal results are equal files.
    """
    listed = root / "raw" / "videos.parquet"
    videos = tables.read(tables.Videos, listed)
    detector = DETECTORS.named(p.detector)
    detector.check(p)
    chosen = {name: p.settings(name).model_dump() for name in (p.detector, p.tracker)}
    settings = {**p.own(), "settings": chosen}
    room = sorted(Path(__file__).parent.rglob("*.py"))
    parts = [*DETECTORS.files(p.detector), *TRACKERS.files(p.tracker)]
    reader = sorted(Path(video.__file__).parent.glob("*.py"))
    code = dict.fromkeys([*room, *reader, *parts])
    folder = work.folder("extract", work.key(settings, listed, *code, *detector.inputs(p)))
    jobs = [
        Job(row.video, Path(row.path), Probe(row.fps, row.frames, row.width, row.height), folder)
        for row in videos.itertuples()
    ]
    left = [job for job in jobs if not job.report.exists()]
    again = f" ({len(jobs) - len(left)} done by an earlier run)" if len(left) < len(jobs) else ""
    progress.say(f"extract: {p.detector} on {len(jobs)} videos{again}, looking at up to {p.rate:g} frames/s")
    _all(left, p)
    _gather(jobs, p, root / "tracklets")
    shutil.rmtree(work.ROOT / "extract")


def _all(jobs: list[Job], p: Extract) -> None:
    """Work on `jobs` in processes, one video at a time each; the results do not depend on how many there are."""
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")  # no state of OpenCV, torch or CUDA is inherited half-way
    counter = context.Value("q", 0)
    alone = DETECTORS.named(p.detector).alone
    processes = 1 if alone else min(len(jobs), os.cpu_count() or 1)
    longest_first = sorted(jobs, key=lambda job: -job.probe.frames)
    with (
        ProcessPoolExecutor(processes, context, _begin, (alone, counter)) as pool,
        progress.bar("extract", "frames", sum(job.probe.frames for job in jobs)) as bar,
    ):
        pending = {pool.submit(_one, job, p) for job in longest_first}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.update(counter.value - bar.n)
                for future in done:
                    future.result()
        except BrokenProcessPool:
            raise CionError(
                "a worker died (out of memory, or a decoder crashed); what is done is kept: `dvc repro` goes on"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(alone: bool, counter: multiprocessing.Value) -> None:
    """Set up a worker process."""
    global _detector, _counter
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not alone:
        cv2.setNumThreads(1)
    _detector, _counter = None, counter


def _end_with_parent() -> None:
    # or a killed stage's workers would go on, beside those of the run that follows
    multiprocessing.parent_process().join()
    os._exit(1)


def _one(job: Job, p: Extract) -> None:
    global _detector
    _detector = _detector or DETECTORS.named(p.detector)(p)  # not in _begin, where the pool would swallow its error

    def passed(frames: int) -> None:
        with _counter.get_lock():
            _counter.value += frames

    try:
        crops, counts = cut(job.path, job.probe, _detector, p, job.folder / job.shard, passed)
    except BadVideo as reason:
        work.write_json(job.report, {"video": job.video, "reason": str(reason)})
        return
    tables.write(tables.Crops, crops.assign(video=job.video, shard=job.shard), job.table)
    work.write_json(job.report, {"video": job.video, **counts})


def _gather(jobs: list[Job], p: Extract, out: Path) -> None:
    reports = [json.loads(job.report.read_text()) for job in jobs]
    aside = [report for report in reports if "reason" in report]
    used = [report for report in reports if "reason" not in report]
    for report in aside:
        progress.say(f"extract: {report['video']} set aside: {report['reason']}")
    for report in used:
        if report["truncated"]:
            progress.say(
                f"extract: {report['video']} is truncated: {report['frames']} of {report['frames_claimed']} "
                "frames could be decoded, and are used"
            )
    if not used:
        raise CionError(
            f"no people in any of {len(jobs)} videos:\n"
            + "\n".join(f"  {report['video']}: {report['reason']}" for report in aside[:20])
            + f"\ntry a lower extract.min_height ({p.min_height}), extract.confidence ({p.confidence:g}) or "
            f"extract.min_crops ({p.min_crops}), or another extract.detector than {p.detector}:\n"
            + "\n".join(f"  {part.name}: {part.about}" for part in DETECTORS.all() if part.name != p.detector)
        )
    shutil.rmtree(out, ignore_errors=True)
    crops, first_crop, first_tracklet = [], 0, 0
    for job, report in zip(jobs, reports, strict=True):
        if "reason" in report:
            continue
        part = tables.read(tables.Crops, job.table)
        crops.append(part.assign(crop=part.crop + first_crop, tracklet=part.tracklet + first_tracklet))
        first_crop += report["crops"]
        first_tracklet += report["tracklets"]
        shard = out / "crops" / job.shard
        shard.parent.mkdir(parents=True, exist_ok=True)
        job.report.unlink()  # first: a kill in between must not leave a video called done without its shard
        shutil.move(job.folder / job.shard, shard)
    names = list(tables.Crops.to_schema().columns)
    tables.write(tables.Crops, pd.concat(crops)[names], out / "crops.parquet")
    totals = {"tracklets": first_tracklet, "crops": first_crop}
    work.write_json(out / "extract.json", {**totals, "videos": used, "set_aside": aside})
    progress.say(f"extract: {first_crop} crops of {first_tracklet} tracklets from {len(used)} videos")
