"""What a machine of the cluster does: worker processes, and for each job that comes an answer.

Nothing of it needs Ray; `fleet` makes it an actor. The actor's own process opens no file of unknown
origin and holds no model. So if it ends, its machine has ended, or somebody has killed it.
"""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from cion_core import crew
from cion_core.cluster.shared_folder import SharedFolder
from cion_core.errors import CionError

Equip = Callable[[int], AbstractContextManager[crew.Equipment]]


class Post:
    """The workers of one machine, or of one of its GPUs. Several threads may call `do`."""

    def __init__(self) -> None:
        """Not ready yet; see `begin`."""
        self._opened = ExitStack()
        self._free: queue.SimpleQueue[Place] = queue.SimpleQueue()

    def begin(
        self, machine: str, folder: SharedFolder, equip: Equip, cores: int
    ) -> int | CionError:
        """Get ready to work in a folder.

        Args:
            machine: its name, for messages.
            folder: the project's.
            equip: is told how many processors there are, and says with what is worked; while the
                context that it returns is open, what the workers have in common is there.
            cores: how many processors this post may use.

        Returns:
            How many jobs may be done at once; or the error that ends the whole work.
        """
        _forget_main_script()
        os.environ["TQDM_DISABLE"] = "1"  # of the workers: the bar is where the stage runs
        try:
            folder.enter(machine)
            equipment = self._opened.enter_context(equip(cores))
        except CionError as error:
            return error
        posts_here = max(1, (os.cpu_count() or 1) // cores)
        memory = equipment.memory or crew.share_of_memory(posts_here * equipment.processes)
        for _ in range(equipment.processes):
            self._free.put(Place(equipment.orders, memory))
        return equipment.processes

    def do(self, job: Any) -> tuple[crew.Outcome, int] | CionError:
        """Do one job, at most twice.

        Returns:
            What became of it, and what amount was reported to be done; or the error that ends the
            whole work.
        """
        place = self._free.get()
        try:
            return place.do(job)
        except CionError as error:
            return error
        finally:
            self._free.put(place)


class Place:
    """A worker, and another one in its place when it has died."""

    def __init__(self, orders: crew.Orders, memory: int) -> None:
        """The first job starts the worker.

        Args:
            orders: what the worker is told.
            memory: bytes that it may take beyond what it has at rest.
        """
        self._orders, self._memory = orders, memory
        self._worker: crew.Worker | None = None

    def do(self, job: Any) -> tuple[crew.Outcome, int]:
        """As `Post.do`.

        Raises:
            CionError: what ends the whole work.
        """
        attempts = crew.Attempts(job)
        reported: list[int] = []
        while True:
            if self._worker is None or self._worker.ended:
                self._worker = crew.Worker(self._orders)
            outcome = self._worker.finish(attempts, self._memory, reported.append)
            if outcome.failure is None or len(attempts.reasons) == crew.ATTEMPTS:
                return outcome, sum(reported)


def _forget_main_script() -> None:
    """Let worker processes not import the main script of this one, which is Ray's.

    It would take them a second each.
    """
    vars(sys.modules["__main__"]).pop("__file__", None)
