"""`map` on all machines of a Ray cluster, for few long calls of one function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from cion_core import crew
from cion_core.cluster import fleet
from cion_core.errors import CionError

# Seconds that a call may take.
SILENCE = 3600.0


def mapped(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """What `list(map(function, *arguments))` gives.

    Args:
        function: a function of a module, or `functools.partial` of one, since it is pickled.
        arguments: for each of its parameters the values, which are pickled as well.

    Returns:
        What each call returned, in the order of the arguments.

    Raises:
        CionError: a call failed or killed its process, twice; no cluster; or by `function`.
    """
    calls = list(enumerate(zip(*arguments, strict=True)))
    results = [None] * len(calls)
    equip = partial(_equip, orders=crew.Orders(partial(_call, function), None, SILENCE))
    for outcome in fleet.work(calls, equip):
        number, _ = outcome.job
        if outcome.failure:
            called = f"call {number + 1} of {len(calls)}"
            raise CionError(f"runtime.engine: ray: {called}: {outcome.failure}")
        results[number] = outcome.result
    return results


@contextmanager
def _equip(cores: int, orders: crew.Orders) -> Iterator[crew.Equipment]:
    """A process for each processor of a machine."""
    yield crew.Equipment(orders, processes=cores)


def _call(function: Callable[..., Any], job: tuple[int, tuple], _: None, __: crew.Report) -> Any:
    """In a worker: one call."""
    _, arguments = job
    return function(*arguments)
