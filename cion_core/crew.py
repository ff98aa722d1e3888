"""A crew of worker processes for files of unknown origin: what kills a worker costs only the job
that it had.

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
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from cion_core.errors import CionError

JobType = TypeVar("JobType")
ResultType = TypeVar("ResultType")
Report = Callable[[int], None]

CONTEXT = multiprocessing.get_context(
    "spawn"
)  # no state of OpenCV, torch or CUDA is inherited half-way
ATTEMPTS = 2  # how often a job is tried
SILENCE = 300.0  # seconds without a sign of life after which a job is taken to hang
WATCH_EVERY = 0.1  # seconds between two looks at the memory of the workers
REPORT_EVERY = 0.2  # seconds between two messages about progress
GOODBYE = 30.0  # seconds that an idle worker has to end by itself
GIB = 2**30
LEAST_MEMORY = 2 * GIB
SHARE_OF_MEMORY = 0.8  # of this machine's memory, for all workers together
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class PlainFailure(Exception):
    """A failure of a job in words for whoever reads the report: where in the code it arose says
    nothing more.
    """


@dataclass(frozen=True)
class Outcome(Generic[JobType, ResultType]):
    """What became of a job: `failure` is None, or says in plain words why there is no result."""

    job: JobType
    result: ResultType | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Orders:
    """What every worker is told when it starts."""

    function: Callable[[Any, Any, Report], Any]
    setup: Callable[[], Any] | None
    silence: float


@dataclass(frozen=True)
class Equipment:
    """What the workers of one machine are told, how many they are at most, and the memory that each
    may take.

    `memory` is in bytes, beyond what a worker has after `orders.setup`; None: as `work` says.
    """

    orders: Orders
    processes: int
    memory: int | None = None


@dataclass
class Attempts:
    """A job, and why it failed so far."""

    job: Any
    reasons: list[str] = field(default_factory=list)
    deaths: int = 0

    @property
    def failure(self) -> str:
        """Why the job failed, as the end of a sentence."""
        died = self.deaths == len(self.reasons)
        what = "the process died on it twice" if died else "working on it failed twice"
        return f"{what}: {'; then '.join(dict.fromkeys(self.reasons))}"


def work(
    jobs: Iterable[JobType],
    function: Callable[[JobType, Any, Report], ResultType],
    processes: int,
    *,
    setup: Callable[[], Any] | None = None,
    progress: Callable[[int], None] | None = None,
    silence: float = SILENCE,
    memory: int | None = None,
) -> Iterator[Outcome[JobType, ResultType]]:
    """Do `jobs` in worker processes, one at a time in each; yield an Outcome for each, in the order
    in which they end.

    Jobs are begun in the order given. Everything that goes to a worker or comes back is pickled, so
    `function` and `setup` must be functions of a module, or `functools.partial` of one.

    Args:
        jobs: what to work on.
        function: called in a worker as `function(job, tool, report)`. `report(amount)` is a sign of
            life, and tells how much more is done, in units of the caller's.
        processes: how many workers there are at most.
        setup: called once in each worker before its first job; what it returns is the `tool` of
            `function`. None: the tool is None.
        progress: is told of every reported amount. Where a job is tried again it is told a negative
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
                outcome = worker.read(progress or (lambda amount: None))
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
    return max(LEAST_MEMORY, int(SHARE_OF_MEMORY * psutil.virtual_memory().total / processes))


def _hand_out(
    queue: deque[Attempts], workers: list[Worker], orders: Orders, processes: int
) -> None:
    """Give the first jobs of `queue` to idle workers, and start workers as long as there are jobs
    for them.
    """
    idle = [worker for worker in workers if not worker.attempts]
    while queue and (idle or len(workers) < processes):
        worker = idle.pop() if idle else None
        if (
            worker and worker.used and queue[0].reasons
        ):  # what failed once is tried in a fresh process
            worker.dismiss()
            workers.remove(worker)
            worker = None
        if worker is None:
            worker = Worker(orders)
            workers.append(worker)
        worker.give(queue.popleft())


def _wait(workers: list[Worker], memory: int) -> list[Worker]:
    """The workers that have something to tell, or have died; meanwhile those that take too much
    memory are killed.
    """
    for worker in workers:
        worker.bound_memory(memory)
    handles = {
        handle: worker for worker in workers for handle in (worker.pipe, worker.process.sentinel)
    }
    ready = connection.wait(handles, timeout=WATCH_EVERY)
    return list(dict.fromkeys(handles[handle] for handle in ready))


class Worker:
    """A worker process as its parent sees it."""

    def __init__(self, orders: Orders) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs, orders), daemon=True)
        self.process.start()
        theirs.close()
        self.attempts: Attempts | None = None
        self.used = self.ended = False
        self._silence = orders.silence
        self._reported = 0
        self._memory_at_rest: int | None = None  # None until `setup` is done
        self._memory_bound = 0
        self._over_memory = False
        self._looked = 0.0

    def give(self, attempts: Attempts) -> None:
        """Send it a job."""
        self.used, self.attempts, self._reported = True, attempts, 0
        with suppress(OSError):  # it has died meanwhile, which `read` will find
            self.pipe.send((attempts.job,))

    def read(self, progress: Callable[[int], None]) -> Outcome | None:
        """Take its next message, or its death; an Outcome where its job is done or has failed.

        Raises:
            CionError: it told of an error that ends the crew, or died before it was ready.
        """
        try:
            kind, value = self.pipe.recv() if self.pipe.poll() else ("died", None)
        except (EOFError, OSError):
            kind, value = "died", None
        if kind == "ready":
            self._memory_at_rest = self._resident()
        elif kind == "reported":
            self._reported += value
            progress(value)
        elif kind == "error":
            raise CionError(value)
        elif kind == "done":
            attempts, self.attempts = self.attempts, None
            return Outcome(attempts.job, value)
        else:
            return self._failed(None if kind == "died" else value, progress)
        return None

    def finish(
        self, attempts: Attempts, memory: int, progress: Callable[[int], None] = lambda amount: None
    ) -> Outcome:
        """Send it a job, and wait for what becomes of it; one that failed has ended the worker
        (`ended`).

        Args:
            attempts: the job; a failure is noted in it.
            memory: bytes that it may take beyond what it had before its first job.
            progress: as of `work`.

        Raises:
            CionError: as `read`.
        """
        self.give(attempts)
        outcome = None
        while outcome is None:
            self.bound_memory(memory)
            if connection.wait([self.pipe, self.process.sentinel], WATCH_EVERY):
                outcome = self.read(progress)
        return outcome

    def _failed(self, raised: str | None, progress: Callable[[int], None]) -> Outcome | None:
        """It has died, or its job has raised an error; either way it works no more."""
        self.ended = True
        if raised is None:
            self.process.join()
        else:
            self.dismiss()
        reason = raised or self._cause_of_death()
        if self._memory_at_rest is None:
            raise CionError(f"a worker process could not begin: {reason}")
        attempts, self.attempts = self.attempts, None
        if attempts is None:
            return None
        progress(-self._reported)
        attempts.reasons.append(reason)
        attempts.deaths += raised is None
        return Outcome(attempts.job, failure=attempts.failure)

    def _cause_of_death(self) -> str:
        code = self.process.exitcode
        if self._over_memory:
            return f"it took more than {self._memory_bound / GIB:.1f} GiB of memory"
        if code == -signal.SIGALRM:
            return f"it gave no sign of life for {self._silence:g} seconds"
        if code == -signal.SIGKILL:
            return "killed by signal 9 (by the system, which is short of memory, or by somebody)"
        if code < 0:
            return f"killed by signal {-code} ({(signal.strsignal(-code) or 'unknown').lower()})"
        return f"it ended by itself with code {code}"

    def bound_memory(self, memory: int) -> None:
        """Kill it if it has taken more than `memory` bytes beyond what it had before its first
        job.
        """
        if self._memory_at_rest is None or time.monotonic() - self._looked < WATCH_EVERY:
            return
        self._looked = time.monotonic()
        if self._resident() - self._memory_at_rest > memory:
            self._over_memory, self._memory_bound = True, memory
            self.process.kill()

    def _resident(self) -> int:
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:  # it has ended
            return 0

    def excuse(self) -> None:
        """Tell it that there are no more jobs."""
        with suppress(OSError):  # it has died meanwhile
            self.pipe.send(None)

    def dismiss(self) -> None:
        """Let it end by itself, or else kill it."""
        self.excuse()
        self.process.join(GOODBYE)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: connection.Connection, orders: Orders) -> None:
    """What a worker process does: set up, then one job after another until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _offer_itself_to_the_system()
    try:
        tool = orders.setup() if orders.setup else None
    except CionError as error:
        pipe.send(("error", str(error)))
        return
    except Exception as error:
        traceback.print_exc()  # perhaps of a user's own detector, who has to find the line
        pipe.send(("error", f"a worker process could not begin: {_in_words(error)}"))
        return
    pipe.send(("ready", None))
    while order := _next_order(pipe):
        (job,) = order
        _answer(pipe, orders, job, tool)


def _answer(pipe: connection.Connection, orders: Orders, job: Any, tool: Any) -> None:
    """Do one job, and send what came of it."""
    reporter = Reporter(pipe, orders.silence)
    try:
        try:
            result = orders.function(job, tool, reporter.add)
        finally:
            reporter.stop()
        pipe.send(("done", result))
    except CionError as error:
        pipe.send(("error", str(error)))
    except (Exception, SystemExit) as error:
        of_disk = isinstance(error, OSError) and error.errno in DISK_ERRORS
        pipe.send(("error" if of_disk else "raised", _in_words(error)))


class Reporter:
    """Tells the parent of progress, and the kernel that this process is alive.

    The kernel's alarm kills the process if it is not set again in time. This needs neither the
    parent nor Python: a decoder that hangs while it holds the interpreter's lock ends too.
    """

    def __init__(self, pipe: connection.Connection, silence: float) -> None:
        self._pipe, self._silence = pipe, silence
        self._amount, self._sent = 0, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, silence)

    def add(self, amount: int) -> None:
        """`amount` more is done."""
        self._amount += amount
        now = time.monotonic()
        if now - self._sent >= REPORT_EVERY:
            self._send()
            self._sent = now
            signal.setitimer(signal.ITIMER_REAL, self._silence)

    def stop(self) -> None:
        """Send the rest, and let the alarm be."""
        self._send()

    def _send(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)  # to wait for a busy parent is no silence
        if self._amount:
            self._pipe.send(("reported", self._amount))
        self._amount = 0


def _next_order(pipe: connection.Connection) -> tuple[Any] | None:
    """The next job, alone in a tuple; None where there are no more."""
    try:
        return pipe.recv()
    except EOFError:  # the parent is gone
        return None


def _in_words(error: BaseException) -> str:
    """The error's kind, its first line, and where it arose; of a `PlainFailure` its text alone."""
    if isinstance(error, PlainFailure):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    lines = str(error).splitlines() or [""]
    return (
        f"{type(error).__name__}: {lines[0][:300]} ({Path(place.filename).name}, line "
        f"{place.lineno})"
    )


def _end_with_parent() -> None:
    # or a killed stage's workers would go on, beside those of the run that follows
    multiprocessing.parent_process().join()
    os._exit(1)


def _offer_itself_to_the_system() -> None:
    """Where memory runs out, the system ends a worker, and not its parent (Linux)."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
