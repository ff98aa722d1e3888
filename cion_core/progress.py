"""What a person sees while a stage works: a line that says what it does, and a bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from cion_core.errors import printable

T = TypeVar("T")


def say(text: str) -> None:
    """Print one line at once, above any bar."""
    tqdm.write(printable(text), file=sys.stdout)
    sys.stdout.flush()


def track(
    items: Iterable[T], what: str, unit: str, total: int | None = None, initial: int = 0
) -> Iterator[T]:
    """Yield items under a progress bar; in a log file the bar is one line every ten seconds.

    Args:
        items: what to yield.
        what: the bar's title.
        unit: of an item.
        total: how many there are, if that is known.
        initial: how many are already done.
    """
    yield from bar(what, unit, total, items=items, initial=initial)


def bar(
    what: str, unit: str, total: int | None = None, items: Iterable | None = None, initial: int = 0
) -> tqdm:
    """Make a tqdm bar with the house's settings, for loops that set a postfix or update by hand.

    Args:
        what: the bar's title.
        unit: of what is counted.
        total: how many there are, if that is known.
        items: what the bar yields, if it is iterated over.
        initial: how many are already done.
    """
    tty = sys.stderr.isatty()
    return tqdm(
        items, desc=what, unit=unit, total=total, initial=initial,
        mininterval=0.2 if tty else 10.0, dynamic_ncols=tty, smoothing=0.1,
    )  # fmt: skip
