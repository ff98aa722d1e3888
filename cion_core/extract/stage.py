"""The extract stage: every video's tracklets, in parallel, into data/tracklets.

What a video yields waits, complete, in a work folder until all are done (`results`): a killed run
goes on with the rest.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import cv2
import pandas as pd

from cion_core import crew, progress, tables, work
from cion_core.extract import faces, results
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.detectors.base import Detector
from cion_core.extract.results import Job
from cion_core.extract.settings import Extract
from cion_core.extract.shared_detector import BorrowedDetector, SharedDetector, make_detector
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.video_crops import extract_video
from cion_core.ingest import video
from cion_core.ingest.video import BadVideo, Probe
from cion_core.runtime import Runtime

SILENCE = crew.SILENCE  # seconds without a sign of life after which work is taken to hang
MEMORY: int | None = None  # bytes that a process may take; None: as `crew.work` says


def run(section: Extract, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Extract the tracklets of all videos.

    Read raw/videos.parquet; write the tars of tracklets/crops, tracklets/crops.parquet and
    tracklets/extract.json. Videos that cannot be used or show nobody are set aside with a reason.
    The report holds no times, so that equal results are equal files.

    Args:
        section: the section `extract`.
        runtime: the section `runtime`: this machine alone, or a cluster.
        root: the folder of data.

    Raises:
        CionError: no video can be used, or the detector cannot work on this machine.
    """
    listed = root / "raw" / "videos.parquet"
    videos = tables.read(tables.Videos, listed)
    detector = DETECTORS.named(section.detector)
    detector.check(section)
    networks = [faces.model_file()] if section.blur_faces else []

    # 1. The work folder, named by all that results depend on, and a job for each video.
    parts = (section.detector, section.tracker)
    settings_of_parts = {name: section.settings(name).model_dump() for name in parts}
    chosen = {**section.own(), "settings": settings_of_parts}
    files = [listed, *_own_code(section), *detector.inputs(section), *networks]
    folder = work.folder("extract", work.key(chosen, *files))
    jobs = _list_jobs(videos, folder)

    # 2. What an earlier run has not done yet.
    left = [job for job in jobs if not job.record.exists()]
    done = len(jobs) - len(left)
    again = f" ({done} done by an earlier run)" if done else ""
    progress.say(
        f"extract: {section.detector} on {len(jobs)} videos{again}, looking at up to "
        f"{section.rate:g} frames/s"
    )
    failures = _extract_all(left, section, runtime)

    # 3. All results together.
    results.gather(jobs, failures, section, root / "tracklets")
    shutil.rmtree(work.ROOT / "extract")


def _own_code(section: Extract) -> list[Path]:
    """The files of code that crops depend on: this room, the reader of videos, and the parts."""
    room = sorted(Path(__file__).parent.rglob("*.py"))
    reader = sorted(Path(video.__file__).parent.glob("*.py"))
    parts = [*DETECTORS.files(section.detector), *TRACKERS.files(section.tracker)]
    # A part that comes with the project is a file of this room too.
    return list(dict.fromkeys([*room, *reader, *parts]))


def _list_jobs(videos: pd.DataFrame, folder: Path) -> list[Job]:
    """A job for each row of tables.Videos."""
    jobs = []
    for number, row in enumerate(videos.itertuples()):
        probe = Probe(row.fps, row.frames, row.width, row.height)
        jobs.append(Job(number, row.video, Path(row.path), probe, folder))
    return jobs


def _extract_all(jobs: list[Job], section: Extract, runtime: Runtime) -> dict[str, str]:
    """Work on `jobs`, on this machine or on a cluster; the results do not depend on which.

    Returns:
        Of each video that a process died on or failed at twice, the reason.
    """
    if not jobs:
        return {}
    longest_first = sorted(jobs, key=lambda job: -job.probe.frames)
    work_on = _on_cluster if runtime.engine == "ray" else _on_this_machine
    failures = {}
    with progress.bar("extract", "frames", sum(job.probe.frames for job in jobs)) as bar:
        for outcome in work_on(longest_first, section, bar.update):
            if outcome.failure:
                failures[outcome.job.video] = outcome.failure
    return failures


def _on_this_machine(
    jobs: list[Job], section: Extract, report: crew.Report
) -> Iterator[crew.Outcome]:
    """Yield what becomes of each video. Each process works on one at a time."""
    with _equip(os.cpu_count() or 1, section, len(jobs)) as equipment:
        orders = equipment.orders
        yield from crew.work(
            jobs, orders.function, equipment.processes, setup=orders.setup, report=report,
            silence=orders.silence, memory=equipment.memory,
        )  # fmt: skip


def _on_cluster(jobs: list[Job], section: Extract, report: crew.Report) -> Iterator[crew.Outcome]:
    """Do the same on all machines of a Ray cluster, which share the work folder."""
    from cion_core.cluster import fleet, shared_folder  # Ray is optional

    equip = partial(_equip, section=section, jobs=len(jobs))
    needs_gpus = DETECTORS.named(section.detector).shared
    for outcome in fleet.work(jobs, equip, gpus=needs_gpus, report=report):
        if not outcome.failure:
            shared_folder.wait_for_files([outcome.job.record])
        yield outcome


@contextmanager
def _equip(cores: int, section: Extract, jobs: int) -> Iterator[crew.Equipment]:
    """Set up one machine's worker processes: one a core, but no more than there are jobs.

    A detector that they share is there as long as the context lasts.
    """
    processes = min(jobs, cores)
    function = partial(_extract_one, section=section, threads=max(1, cores // processes))
    with ExitStack() as opened:
        setup = partial(_own_detector, section)
        if DETECTORS.named(section.detector).shared:
            shared = opened.enter_context(SharedDetector(section, SILENCE, MEMORY))
            setup = partial(_borrowed_detector, shared.address)
        yield crew.Equipment(crew.Orders(function, setup, SILENCE), processes, MEMORY)


def _own_detector(section: Extract) -> Detector:
    """Set up a process that decodes and detects."""
    cv2.setNumThreads(1)
    return make_detector(section)


def _borrowed_detector(address: str) -> BorrowedDetector:
    """Set up a process that decodes, and detects by the shared detector."""
    cv2.setNumThreads(1)
    return BorrowedDetector(address)


def _extract_one(
    job: Job,
    detector: Detector | BorrowedDetector,
    report: crew.Report,
    section: Extract,
    threads: int,
) -> None:
    """Extract one video, which `threads` threads decode; its record is written last."""
    report = _from_any_thread(report)
    if isinstance(detector, BorrowedDetector):
        detector.report = report
    try:
        crops, counts = extract_video(
            job.path, job.probe, detector, section, job.folder / job.shard, report, threads
        )
    except BadVideo as reason:
        work.write_json(job.record, {"video": job.video, "reason": str(reason)})
        return
    tables.write(tables.Crops, crops.assign(video=job.video, shard=job.shard), job.table)
    work.write_json(job.record, {"video": job.video, **counts})


def _from_any_thread(report: crew.Report) -> crew.Report:
    """Let several threads call `report`, one after another."""
    one_at_a_time = threading.Lock()

    def locked(amount: int) -> None:
        with one_at_a_time:
            report(amount)

    return locked
