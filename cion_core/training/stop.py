"""A training that SIGTERM stops ends after a whole step, and says how to go on.

A preempted node sends that signal. A signal to DVC alone ends DVC and leaves the stage running;
`cion` is in its process group, so send it to that (kill -TERM -GROUP), as the flow does when it is
cancelled. torchrun passes it on to its processes, and kills what is left of them after 30 seconds.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cion_core import work
from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints

RESUME = "resume.json"  # in the work folder; the flow takes it for "run me again"


class Preempted(CionError):
    """Training ended by SIGTERM, after a checkpoint of its first `step` steps."""

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self.step = step


class Stop:
    """Notes a SIGTERM.

    Attributes:
        asked: whether one has come.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, SIGTERM is only noted.

        Python takes signals in its main thread alone; elsewhere it ends us.
        """
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


@contextmanager
def resumable(checkpoints: Checkpoints, stage: str, **about: str) -> Iterator[None]:
    """Where a training is stopped inside, leave a note of how to go on; remove an earlier one.

    Args:
        checkpoints: of the training.
        stage: the command, which the note names where no DVC stage runs.
        about: what the training makes, by name.
    """
    note = work.ROOT / RESUME
    note.unlink(missing_ok=True)
    try:
        yield
    except Preempted as stopped:
        if ranks.rank() == 0:
            stage = os.environ.get("DVC_STAGE", stage)
            checkpoint = str(checkpoints.files()[-1])
            position = {"step": stopped.step, "checkpoint": checkpoint}
            work.write_json(note, {"stage": stage, **about, **position})
        # torchrun ends the others as soon as one has ended, and the first one is still writing.
        ranks.barrier()
        raise
