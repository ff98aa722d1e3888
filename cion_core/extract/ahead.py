"""Steps of a chain that work at the same time, each in a thread of its own.

Decoders and detectors are written in C and let go of the interpreter, so threads are enough: while
a batch of looks is detected in, the next one is decoded, and the one before is tracked and written.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

WAITING = 1  # items that are made and not yet taken: enough to overlap, and little memory
LOOK_UP = 0.1  # seconds after which a thread whose item nobody takes looks whether it is to end


@dataclass(frozen=True)
class End:
    """Comes behind the last item; `error` is what the items ended with, None if with nothing."""

    error: BaseException | None = None


def work_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Make items in a thread, which is always one ahead.

    If this iterator is closed early, so is `items`, and the thread has ended. An error in the
    making of an item is raised here, in the place of the item.

    Args:
        items: iterated over in the thread.

    Yields:
        The items, in their order.

    Example:
        In `work_ahead(third(work_ahead(second(work_ahead(first())))))` three steps work at the
        same time: while the third works on item 1, the second works on item 2, the first on 3.
    """
    made: queue.Queue = queue.Queue(WAITING)
    nobody_takes = threading.Event()

    def offer(item: object) -> bool:
        """Put it where it is taken from; False if nobody takes any more."""
        while not nobody_takes.is_set():
            try:
                made.put(item, timeout=LOOK_UP)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            with closing(items) if hasattr(items, "close") else nullcontext():
                for item in items:
                    if not offer(item):
                        return
        except BaseException as error:  # it is raised where the items are taken
            offer(End(error))
        else:
            offer(End())

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        nobody_takes.set()
        thread.join()
