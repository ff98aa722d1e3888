"""Commands that a flow runs in this folder: logged, and ended with all that they have started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from cion_core import work

# Lines of a failed command that its error repeats.
TAIL = 25
# As a bar of tqdm has it: "extract:  45%|####5     | 9/20".
PERCENT = re.compile(r"(\d{1,3})%\|")
# Between SIGTERM, after which training writes a checkpoint, and SIGKILL; Prefect grants 30.
GRACE_SECONDS = 25.0


class StageFailed(Exception):
    """A stage, or some stages of a flow; the message holds what they said last."""


class Stopped(Exception):
    """The flow is being ended: no further command begins."""


class Children:
    """The commands that run now, so that a flow that is told to end leaves none behind.

    Only Python's main thread is told of a signal, and stages run in other threads.

    Attributes:
        stopping: is set once the flow is told to end.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._running: set[subprocess.Popen] = set()
        self._guard = threading.Lock()

    @contextmanager
    def started(
        self, command: Sequence[str], environment: dict[str, str]
    ) -> Iterator[subprocess.Popen]:
        """A command in a process group of its own; both its outputs come as one text."""
        with self._guard:
            if self.stopping.is_set():
                raise Stopped("the flow is being ended")
            process = subprocess.Popen(
                command, env=environment, start_new_session=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
            self._running.add(process)
        try:
            with process:
                yield process
        except BaseException:
            end_group(process)
            raise
        finally:
            with self._guard:
                self._running.discard(process)

    def stop(self) -> None:
        """End every command and what it has started; none begins afterwards."""
        with self._guard:
            self.stopping.set()
            running = list(self._running)
        for process in running:
            end_group(process)


CHILDREN = Children()


def is_worth_retrying(*_: object) -> bool:
    """Whether a stage that has failed is tried again: not where the flow is being ended."""
    return not CHILDREN.stopping.is_set()


def end_group(process: subprocess.Popen) -> None:
    """SIGTERM to the command and all below it; SIGKILL to what is left after a while.

    DVC ends before its stage does, so the whole group is waited for, and not the command alone.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    number = signal.SIGTERM
    while _reached(process, number):
        process.poll()  # one that has ended stays in its group until it is asked
        number = signal.SIGKILL if time.monotonic() > deadline else 0
        time.sleep(0.1)


def _reached(process: subprocess.Popen, number: int) -> bool:
    """Send a signal (0: none) to the command's group; False if nothing of it is left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def run(
    arguments: Sequence[str],
    log: Callable[[str], None],
    environment: dict[str, str] | None = None,
    progress: Callable[[float], None] | None = None,
    timeout_minutes: float | None = None,
) -> None:
    """Run `python -m ARGUMENTS`, such as dvc, in this folder.

    Args:
        arguments: a module and what it is told.
        log: takes each line of output.
        environment: variables beside those of this process.
        progress: takes the percentage of a progress bar, whenever there is a new one.
        timeout_minutes: after which the command is ended.

    Raises:
        StageFailed: the command failed or took too long; with its last lines.
        Stopped: the flow is being ended.
    """
    said = " ".join(arguments)
    # Where `cion` is, which stages call.
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    variables = os.environ | {"PATH": scripts, "PYTHONUNBUFFERED": "1"} | (environment or {})
    tail: deque[str] = deque(maxlen=TAIL)
    with CHILDREN.started([sys.executable, "-m", *arguments], variables) as process:
        late = threading.Event()
        with _ended_after(timeout_minutes, process, late):
            for line in map(str.rstrip, process.stdout):
                if line:
                    log(line)
                    tail.append(line)
                if progress and (found := PERCENT.search(line)):
                    progress(float(found[1]))
    last_lines = "\n".join(tail)
    if CHILDREN.stopping.is_set():
        raise Stopped(f"{said} was ended with its flow")
    if late.is_set():
        raise StageFailed(
            f"{said}: ended after {timeout_minutes:g} minutes, its limit\n{last_lines}"
        )
    if process.returncode:
        raise StageFailed(f"{said}: exit code {process.returncode}\n{last_lines}")


@contextmanager
def _ended_after(
    minutes: float | None, process: subprocess.Popen, late: threading.Event
) -> Iterator[None]:
    """End a command that is still running after so many minutes, and set `late`."""

    def end() -> None:
        late.set()
        end_group(process)

    timer = threading.Timer(60 * (minutes or 0), end)
    if minutes:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def folder_to_itself() -> Iterator[None]:
    """Be the only flow that works in this folder; wait for another to finish.

    DVC stops with an error where two do. The kernel frees the lock when its holder ends, however
    that was.
    """
    work.ROOT.mkdir(exist_ok=True)
    lock = filelock.FileLock(work.ROOT / "flow.lock")
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except filelock.Timeout:
            if CHILDREN.stopping.is_set():
                raise Stopped("the flow is being ended") from None
    try:
        yield
    finally:
        lock.release()
