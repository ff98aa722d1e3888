"""Work spread over all processors; the results do not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2

from cion_core.progress import track

Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(
    function: Callable[[Job], Result], jobs: Sequence[Job], what: str, unit: str
) -> Iterator[Result]:
    """Yield `function(job)` in the order of `jobs`, under a progress bar."""
    # Spawned, not forked: a fork of a process in which OpenCV or torch runs threads may hang.
    context = multiprocessing.get_context("spawn")
    workers = min(os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(
        workers, context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from track(pool.map(function, jobs), what, unit, total=len(jobs))
