"""A run that is told to end (SIGTERM, as a preempted node is) ends after a whole step, and says how to go on.

A signal to DVC alone ends DVC and leaves the stage running; `cion` is in its process group, so send it to that
(kill -TERM -GROUP), as the flow does when it is cancelled. torchrun passes it on to its processes, and kills what is
left of them after 30 seconds.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cion_core import work
from cion_core.errors import CionError

RESUME = "resume.json"  # in the work folder; the flow takes it for "run me again"


class Preempted(CionError):
    """Training ended by SIGTERM, behind a checkpoint of its first `step` steps."""

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self.step = step


class Stop:
    """`asked`: whether a SIGTERM has come."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, SIGTERM is only noted. Python takes signals in its main thread alone; elsewhere it ends us."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: object) -> None:
            self.asked = True

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def leave(step: int, checkpoint: Path, **about: str) -> None:
    """Write `resume.json`: the DVC stage (or the command), what it makes, after which step, and the checkpoint."""
    stage = os.environ.get("DVC_STAGE", about["stage"])
    work.write_json(work.ROOT / RESUME, {**about, "stage": stage, "step": step, "checkpoint": str(checkpoint)})


def clear() -> None:
    """Take the note away: it is being followed."""
    (work.ROOT / RESUME).unlink(missing_ok=True)
