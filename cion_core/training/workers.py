"""The processes that make batches: how they begin, and that none of them outlives a training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

import cv2

WORKER = "training worker"  # what processes of `WorkerContext` are called


class WorkerContext(multiprocessing.context.SpawnContext):
    """Starts workers under a name, by which `end_workers` finds them."""

    def Process(self, *args: Any, **named: Any) -> multiprocessing.Process:
        return super().Process(*args, name=WORKER, **named)


def begin_worker(worker: int) -> None:
    """Set up a worker: one thread for OpenCV, and deaf to SIGTERM.

    A SIGTERM to all of us is for the main process, which ends its workers when it has made its
    checkpoint. Where that process is gone, for any reason, its workers end too, even in the middle
    of an image.
    """
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def end_workers() -> None:
    """End what is left of this process's workers, whatever they are doing.

    The `DataLoader` has asked them to end, and then sent SIGTERM, which workers ignore. So they are
    killed.
    """
    for process in multiprocessing.active_children():
        if process.name == WORKER:
            process.kill()
            process.join()
