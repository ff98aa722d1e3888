"""Items made ready a step ahead: while the device trains on one, it copies and makes the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from cion_core.training.batches import Item

T = TypeVar("T")
U = TypeVar("U")


def prepare_ahead(
    items: Iterable[T], prepare: Callable[[T], Item], device: torch.device
) -> Iterator[Item]:
    """The prepared items, in order.

    On a GPU an item is copied and made on a stream of its own while the step before it runs. A CPU
    does one thing after another anyway.

    Args:
        items: what `Batches.load` yields.
        prepare: `Batches.prepare` on the device.
        device: where the network is.
    """
    if device.type != "cuda":
        yield from map(prepare, items)
        return
    side = torch.cuda.Stream(device)

    def begin(item: T) -> tuple[Item, torch.cuda.Event]:
        with torch.cuda.stream(side):
            made = prepare(item)
            done = torch.cuda.Event()
            done.record()
        return made, done

    for made, done in one_ahead(items, begin):
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        for tensor in (*made.views, made.identities):
            # Or its memory could be given away while the step still reads it.
            tensor.record_stream(current)
        yield made


def one_ahead(items: Iterable[T], begin: Callable[[T], U]) -> Iterator[U]:
    """What `begin` makes of each item, in order, begun one item early.

    Example: of items 1, 2, 3 it begins 1, begins 2, yields 1, begins 3, yields 2, yields 3.
    """
    waiting: list[U] = []
    for item in items:
        waiting.append(begin(item))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
