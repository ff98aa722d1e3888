"""A crew of worker processes for files of unknown origin: what kills one costs only its job.

Decoders and detectors are libraries written in C. A damaged file can make them crash, hang, or take
all memory, and no `except` catches that. So every file is opened in a worker process, which is
watched:

- it dies, raises an error, takes too much memory, or shows no sign of life for too long: its job is
  tried once more, in a fresh process, and after the second time handed back as a failure, with the
  reasons in plain words;
- the jobs of the other workers go on;
- `CionError`, and a full or read-only disk, are no fault of the file: they end the whole crew;
- if the parent process dies, however it dies, its workers end too.

    for outcome in crew.work(paths, probe, processes=4):
        print(outcome.job, outcome.failure or outcome.result)

`worker` is such a process as its parent sees it, `serving` what it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, TypeVar

import psutil

from cion_core.crew.serving import Orders, PlainFailure, Report
from cion_core.crew.worker import GIB, WATCH_EVERY, Attempts, Outcome, Worker

__all__ = [
    "ATTEMPTS",
    "SHARE_OF_MEMORY",
    "SILENCE",
    "Attempts",
    "Equipment",
    "Orders",
    "Outcome",
    "PlainFailure",
    "Report",
    "Worker",
    "share_of_memory",
    "work",
]

JobType = TypeVar("JobType")
ResultType = TypeVar("ResultType")

# How often a job is tried.
ATTEMPTS = 2
# Seconds without a sign of life after which a worker is taken to hang.
SILENCE = 300.0
# Bytes that a worker may take, however many there are.
LEAST_MEMORY = 2 * GIB
# Of this machine's memory, for all workers together.
SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class Equipment:
    """What the workers of one machine are told, how many they are, and what each may take.

    Attributes:
        orders: what every worker is told.
        processes: how many workers there are at most.
        memory: bytes that a worker may take beyond what it has after `orders.setup`; None: as
            `work` says.
    """

    orders: Orders
    processes: int
    memory: int | None = None


def work(
    jobs: Iterable[JobType],
    function: Callable[[JobType, Any, Report], ResultType],
    processes: int,
    *,
    setup: Callable[[], Any] | None = None,
    report: Callable[[int], None] | None = None,
    silence: float = SILENCE,
    memory: int | None = None,
) -> Iterator[Outcome[JobType, ResultType]]:
    """Do `jobs` in worker processes; yield an Outcome for each, in the order in which they end.

    Jobs are begun in the order given, one at a time in each worker. Everything that goes to a
    worker or comes back is pickled, so `function` and `setup` must be functions of a module, or
    `functools.partial` of one.

    Args:
        jobs: what to work on.
        function: called in a worker as `function(job, tool, report)`. `report(amount)` is a sign of
            life, and tells how much more is done, in units of the caller's.
        processes: how many workers there are at most.
        setup: called once in each worker before its first job; what it returns is the `tool` of
            `function`. None: the tool is None.
        report: is told of every reported amount. Where a job is tried again it is told a negative
            amount, to take back what the first try had reported.
        silence: seconds without `report` after which a worker is taken to hang.
        memory: bytes that a worker may take beyond what it has after `setup`. None: an equal share
            of 80 % of this machine's memory, and no less than 2 GiB.

    Raises:
        CionError: by `setup` or `function`; or `setup` failed in another way; or the disk is full
            or read-only.
    """
    queue = deque(Attempts(job) for job in jobs)
    orders = Orders(function, setup, silence)
    memory = memory or share_of_memory(processes)
    workers: list[Worker] = []
    try:
        while queue or any(worker.attempts for worker in workers):
            _hand_out(queue, workers, orders, processes)
            for worker in _wait(workers, memory):
                attempts = worker.attempts
                outcome = worker.read(report or (lambda amount: None))
                if worker.ended:
                    workers.remove(worker)
                if outcome is None:
                    continue
                if outcome.failure is None or len(attempts.reasons) == ATTEMPTS:
                    yield outcome
                else:
                    queue.append(attempts)
        for worker in workers:
            worker.excuse()
        for worker in workers:
            worker.dismiss()
    finally:
        for worker in workers:
            worker.kill()


def share_of_memory(processes: int) -> int:
    """Bytes that each of so many workers of this machine may take."""
    share = SHARE_OF_MEMORY * psutil.virtual_memory().total / processes
    return max(LEAST_MEMORY, int(share))


def _hand_out(
    queue: deque[Attempts], workers: list[Worker], orders: Orders, processes: int
) -> None:
    """Give the first jobs of `queue` to idle workers, and start workers while some lack."""
    idle = [worker for worker in workers if not worker.attempts]
    while queue and (idle or len(workers) < processes):
        worker = idle.pop() if idle else None
        failed_before = bool(queue[0].reasons)
        if worker and worker.used and failed_before:  # that is tried in a fresh process
            worker.dismiss()
            workers.remove(worker)
            worker = None
        if worker is None:
            worker = Worker(orders)
            workers.append(worker)
        worker.give(queue.popleft())


def _wait(workers: list[Worker], memory: int) -> list[Worker]:
    """The workers that have something to tell, or have died, after a moment's wait for one.

    Those that take more than `memory` bytes are killed.
    """
    by_handle = {}
    for worker in workers:
        worker.bound_memory(memory)
        by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
    ready = connection.wait(by_handle, timeout=WATCH_EVERY)
    return list(dict.fromkeys(by_handle[handle] for handle in ready))
