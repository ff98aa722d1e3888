"""What a worker process does: it sets up, then does one job after another until there is none."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from cion_core.errors import CionError

Report = Callable[[int], None]

# Seconds between two messages about progress.
REPORT_EVERY = 0.2
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class PlainFailure(Exception):
    """A failure of a job whose words say all: where in the code it arose says nothing more."""


@dataclass(frozen=True)
class Orders:
    """What every worker is told when it starts.

    Attributes:
        function: does a job, as `crew.work` says.
        setup: makes the tool; None: there is none.
        silence: seconds without a report after which the worker is taken to hang.
    """

    function: Callable[[Any, Any, Report], Any]
    setup: Callable[[], Any] | None
    silence: float


def serve(pipe: connection.Connection, orders: Orders) -> None:
    """Do what comes through a pipe; tell of all that becomes of it through the same.

    Messages are pairs: ("ready", None) once it is set up; ("reported", amount); of a job ("done",
    its result) or ("raised", the reason); ("error", the reason) of what ends the whole crew.

    Args:
        pipe: jobs come here, each alone in a tuple, and None at the end.
        orders: how to set up, and what does a job.
    """
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
    """End when the parent does, or it would go on beside the workers of the run that follows."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _offer_itself_to_the_system() -> None:
    """Where memory runs out, the system ends a worker, and not its parent (Linux)."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
