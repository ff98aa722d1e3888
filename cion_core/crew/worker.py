"""A worker process as its parent sees it: it is given jobs, watched, and read."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Generic, TypeVar

import psutil

from cion_core.crew.serving import Orders, serve
from cion_core.errors import CionError

JobType = TypeVar("JobType")
ResultType = TypeVar("ResultType")

GIB = 2**30
# No state of OpenCV, torch or CUDA is inherited half-way.
CONTEXT = multiprocessing.get_context("spawn")
# Seconds between two looks at a worker's memory.
WATCH_EVERY = 0.1
# Seconds that an idle worker has to end by itself.
GOODBYE = 30.0


@dataclass(frozen=True)
class Outcome(Generic[JobType, ResultType]):
    """What became of a job: `failure` is None, or says in plain words why there is no result."""

    job: JobType
    result: ResultType | None = None
    failure: str | None = None


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


class Worker:
    """A worker process.

    Attributes:
        pipe: this end of the pipe to it.
        process: the process.
        attempts: the job that it has; None: it is idle.
        used: whether it has ever been given a job.
        ended: whether it is found to work no more.
    """

    def __init__(self, orders: Orders) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs, orders), daemon=True)
        self.process.start()
        theirs.close()
        self.attempts: Attempts | None = None
        self.used = self.ended = False
        self._silence = orders.silence
        self._reported = 0
        # None until `setup` is done.
        self._memory_at_rest: int | None = None
        self._memory_bound = 0
        self._over_memory = False
        self._looked = 0.0

    def give(self, attempts: Attempts) -> None:
        """Send it a job."""
        self.used, self.attempts, self._reported = True, attempts, 0
        with suppress(OSError):  # it has died meanwhile, which `read` will find
            self.pipe.send((attempts.job,))

    def read(self, report: Callable[[int], None]) -> Outcome | None:
        """Take its next message, or its death.

        Args:
            report: as of `work`.

        Returns:
            An Outcome where its job is done or has failed; else None.

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
            report(value)
        elif kind == "error":
            raise CionError(value)
        elif kind == "done":
            attempts, self.attempts = self.attempts, None
            return Outcome(attempts.job, value)
        else:
            return self._failed(None if kind == "died" else value, report)
        return None

    def finish(
        self, attempts: Attempts, memory: int, report: Callable[[int], None] = lambda amount: None
    ) -> Outcome:
        """Send it a job, and wait for what becomes of it.

        A job that failed has ended the worker (`ended`).

        Args:
            attempts: the job; a failure is noted in it.
            memory: bytes that it may take beyond what it had before its first job.
            report: as of `work`.

        Raises:
            CionError: as `read`.
        """
        self.give(attempts)
        outcome = None
        while outcome is None:
            self.bound_memory(memory)
            if connection.wait([self.pipe, self.process.sentinel], WATCH_EVERY):
                outcome = self.read(report)
        return outcome

    def _failed(self, raised: str | None, report: Callable[[int], None]) -> Outcome | None:
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
        report(-self._reported)
        attempts.reasons.append(reason)
        attempts.deaths += raised is None
        return Outcome(attempts.job, failure=attempts.failure)

    def _cause_of_death(self) -> str:
        """In plain words."""
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
        """Kill it if it has taken more bytes than `memory` beyond what it had at rest."""
        if self._memory_at_rest is None or time.monotonic() - self._looked < WATCH_EVERY:
            return
        self._looked = time.monotonic()
        if self._resident() - self._memory_at_rest > memory:
            self._over_memory, self._memory_bound = True, memory
            self.process.kill()

    def _resident(self) -> int:
        """Bytes of memory that it has now; 0 when it has ended."""
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
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
