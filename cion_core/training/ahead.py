"""Items made ready a step ahead: while the device trains on one, it copies and makes the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from cion_core.training.batches import Item

T = TypeVar("T")
U = TypeVar("U")


def ahead(items: Iterable[T], prepare: Callable[[T], Item], device: torch.device) -> Iterator[Item]:
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
            made, done = prepare(item), torch.cuda.Event()
            done.record()
        return made, done

    for made, done in one_ahead(items, begin):
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        for tensor in (*made.views, made.identities):
            tensor.record_stream(
                current
            )  # or its memory could be given away while the step still reads it
        yield made


def one_ahead(items: Iterable[T], begin: Callable[[T], U]) -> Iterator[U]:
    """What `begin` makes of each item, in order; it is called for the next item before the last
    one's is yielded.
    """
    waiting: list[U] = []
    for item in items:
        waiting.append(begin(item))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
