"""The extract stage: every video's tracklets, in parallel, into data/tracklets.

What a video yields waits, complete, in a work folder until all are done: a killed run goes on with
the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import pandas as pd

from cion_core import crew, progress, tables, work
from cion_core.errors import CionError
from cion_core.extract import faces
from cion_core.extract.cut import cut
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.detectors.base import Detector
from cion_core.extract.settings import Extract
from cion_core.extract.shared_detector import BorrowedDetector, SharedDetector, make_detector
from cion_core.extract.trackers import TRACKERS
from cion_core.ingest import video
from cion_core.ingest.video import BadVideo, Probe
from cion_core.runtime import Runtime

SILENCE = crew.SILENCE  # seconds without a sign of life after which work is taken to hang
MEMORY: int | None = None  # bytes that a process may take; None: as `crew.work` says


@dataclass(frozen=True)
class Job:
    """One video to extract.

    Its results have its number for a name, for videos' names may be long, and equal in different
    folders.

    Attributes:
        number: Its row in the table of videos.
        video: Its name in the tables.
        path: Its file or folder.
        probe: Its rate, frames and size.
        folder: Where its results wait for those of the others.
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
    def report(self) -> Path:
        """Written last: a video that has one is done."""
        return self.folder / f"{self.number:06d}.json"


def run(p: Extract, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Extract the tracklets of all videos.

    Read raw/videos.parquet; write the tars of tracklets/crops, tracklets/crops.parquet and
    tracklets/extract.json. Videos that cannot be used or show nobody are set aside with a reason.
    The report holds no times, so that equal results are equal files.

    Args:
        p: The section `extract`.
        runtime: The section `runtime`: this machine alone, or a cluster.
        root: The folder of data.

    Raises:
        CionError: No video can be used, or the detector cannot work on this machine.
    """
    listed = root / "raw" / "videos.parquet"
    videos = tables.read(tables.Videos, listed)
    detector = DETECTORS.named(p.detector)
    detector.check(p)
    networks = [faces.model_file()] if p.blur_faces else []
    chosen = {name: p.settings(name).model_dump() for name in (p.detector, p.tracker)}
    settings = {**p.own(), "settings": chosen}
    room = sorted(Path(__file__).parent.rglob("*.py"))
    parts = [*DETECTORS.files(p.detector), *TRACKERS.files(p.tracker)]
    reader = sorted(Path(video.__file__).parent.glob("*.py"))
    code = dict.fromkeys([*room, *reader, *parts])
    folder = work.folder(
        "extract", work.key(settings, listed, *code, *detector.inputs(p), *networks)
    )
    jobs = [
        Job(
            number,
            row.video,
            Path(row.path),
            Probe(row.fps, row.frames, row.width, row.height),
            folder,
        )
        for number, row in enumerate(videos.itertuples())
    ]
    left = [job for job in jobs if not job.report.exists()]
    again = f" ({len(jobs) - len(left)} done by an earlier run)" if len(left) < len(jobs) else ""
    progress.say(
        f"extract: {p.detector} on {len(jobs)} videos{again}, looking at up to {p.rate:g} frames/s"
    )
    failures = _all(left, p, runtime)
    _gather(jobs, failures, p, root / "tracklets")
    shutil.rmtree(work.ROOT / "extract")


def _all(jobs: list[Job], p: Extract, runtime: Runtime) -> dict[str, str]:
    """Work on `jobs`, on this machine or on a cluster of them; the results do not depend on it.

    Returns:
        Of each video that a process died on or failed at twice, the reason.
    """
    if not jobs:
        return {}
    longest_first = sorted(jobs, key=lambda job: -job.probe.frames)
    work_on = _on_cluster if runtime.engine == "ray" else _on_this_machine
    failures = {}
    with progress.bar("extract", "frames", sum(job.probe.frames for job in jobs)) as bar:
        for outcome in work_on(longest_first, p, bar.update):
            if outcome.failure:
                failures[outcome.job.video] = outcome.failure
    return failures


def _on_this_machine(jobs: list[Job], p: Extract, passed: crew.Report) -> Iterator[crew.Outcome]:
    """What becomes of each video, one at a time in each process."""
    with _equip(os.cpu_count() or 1, p, len(jobs)) as equipment:
        orders = equipment.orders
        yield from crew.work(
            jobs, orders.function, equipment.processes, setup=orders.setup, progress=passed,
            silence=orders.silence, memory=equipment.memory,
        )  # fmt: skip


def _on_cluster(jobs: list[Job], p: Extract, passed: crew.Report) -> Iterator[crew.Outcome]:
    """Likewise on all machines of a Ray cluster, which share the work folder."""
    from cion_core.cluster import fleet, shared_folder  # Ray is optional

    equip = partial(_equip, p=p, most=len(jobs))
    alone = DETECTORS.named(p.detector).alone
    for outcome in fleet.work(jobs, equip, gpus=alone, progress=passed):
        if not outcome.failure:
            shared_folder.wait_for_files([outcome.job.report])
        yield outcome


@contextmanager
def _equip(cores: int, p: Extract, most: int) -> Iterator[crew.Equipment]:
    """The processes of one machine, at most so many.

    While inside, the detector that they share is there.
    """
    processes = min(most, cores)
    function = partial(_one, p=p, threads=max(1, cores // processes))
    with ExitStack() as opened:
        setup = partial(_own_detector, p)
        if DETECTORS.named(p.detector).alone:
            shared = opened.enter_context(SharedDetector(p, SILENCE, MEMORY))
            setup = partial(_borrowed_detector, shared.address)
        yield crew.Equipment(crew.Orders(function, setup, SILENCE), processes, MEMORY)


def _own_detector(p: Extract) -> Detector:
    """Set up a process that decodes and detects."""
    cv2.setNumThreads(1)
    return make_detector(p)


def _borrowed_detector(address: str) -> BorrowedDetector:
    """Set up a process that decodes, and detects by the shared detector."""
    cv2.setNumThreads(1)
    return BorrowedDetector(address)


def _one(
    job: Job, detector: Detector | BorrowedDetector, report: crew.Report, p: Extract, threads: int
) -> None:
    """Extract one video, decoding it with so many threads; its report is written last."""
    report = _from_any_thread(report)
    if isinstance(detector, BorrowedDetector):
        detector.report = report
    try:
        crops, counts = cut(
            job.path, job.probe, detector, p, job.folder / job.shard, report, threads
        )
    except BadVideo as reason:
        work.write_json(job.report, {"video": job.video, "reason": str(reason)})
        return
    tables.write(tables.Crops, crops.assign(video=job.video, shard=job.shard), job.table)
    work.write_json(job.report, {"video": job.video, **counts})


def _from_any_thread(report: crew.Report) -> crew.Report:
    """`report`, which several threads may call."""
    one_at_a_time = threading.Lock()

    def locked(amount: int) -> None:
        with one_at_a_time:
            report(amount)

    return locked


def _gather(jobs: list[Job], failures: dict[str, str], p: Extract, out: Path) -> None:
    """Put the results of all videos together into `out`."""
    reports = [_report(job, failures) for job in jobs]
    aside = [report for report in reports if "reason" in report]
    used = [report for report in reports if "reason" not in report]
    for report in aside:
        progress.say(f"extract: {report['video']} set aside: {report['reason']}")
    if failures:
        progress.say(
            f"extract: what to do about {', '.join(failures)}: extract again, or write the clip "
            "anew (ffmpeg -i CLIP -c:v libx264 NEW.mp4), or choose another extract.detector"
        )
    for report in used:
        if report["frames_damaged"]:
            progress.say(
                f"extract: {report['video']}: {report['frames_damaged']} frames are damaged, and "
                "are used"
            )
        if report["truncated"]:
            progress.say(
                f"extract: {report['video']} is truncated: {report['frames']} of "
                f"{report['frames_claimed']} frames could be decoded, and are used"
            )
    if not used:
        raise CionError(
            f"no people in any of {len(jobs)} videos:\n"
            + "\n".join(f"  {report['video']}: {report['reason']}" for report in aside[:20])
            + f"\ntry a lower extract.min_height ({p.min_height}), extract.confidence "
            f"({p.confidence:g}) or extract.min_crops ({p.min_crops}), or another "
            f"extract.detector than {p.detector}:\n"
            + "\n".join(
                f"  {part.name}: {part.about}"
                for part in DETECTORS.all()
                if part.name != p.detector
            )
        )
    shutil.rmtree(out, ignore_errors=True)
    crops, first_crop, first_tracklet = [], 0, 0
    for job, report in zip(jobs, reports, strict=True):
        if "reason" in report:
            continue
        part = tables.read(tables.Crops, job.table)
        crops.append(
            part.assign(crop=part.crop + first_crop, tracklet=part.tracklet + first_tracklet)
        )
        first_crop += report["crops"]
        first_tracklet += report["tracklets"]
        shard = out / "crops" / job.shard
        shard.parent.mkdir(parents=True, exist_ok=True)
        # first: a kill in between must not leave a video called done without its shard
        job.report.unlink()
        shutil.move(job.folder / job.shard, shard)
    names = list(tables.Crops.to_schema().columns)
    tables.write(tables.Crops, pd.concat(crops)[names], out / "crops.parquet")
    totals = {"tracklets": first_tracklet, "crops": first_crop}
    work.write_json(out / "extract.json", {**totals, "videos": used, "set_aside": aside})
    kept_out = sum((Counter(report["kept_out"]) for report in used), Counter())
    if kept_out:
        progress.say(
            "extract: kept out: "
            + ", ".join(f"{count} {reason}" for reason, count in kept_out.items())
        )
    progress.say(
        f"extract: {first_crop} crops of {first_tracklet} tracklets from {len(used)} videos"
    )


def _report(job: Job, failures: dict[str, str]) -> dict:
    """What is to be told of a video: its counts, or the reason why it is set aside.

    That processes died on it is not kept for a later run, which tries it anew: perhaps it was the
    machine's fault.
    """
    if job.video in failures:
        return {"video": job.video, "reason": failures[job.video]}
    return json.loads(job.report.read_text(encoding="utf-8"))
