"""A thread that is one item ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cion_core.extract.ahead import work_ahead


def test_all_items_come_in_their_order_made_by_another_thread() -> None:
    makers = set()

    def make() -> Iterator[int]:
        for number in range(100):
            makers.add(threading.get_ident())
            yield number

    assert list(work_ahead(work_ahead(make()))) == list(range(100))
    assert threading.get_ident() not in makers


def test_the_next_item_is_made_while_one_is_worked_on_and_no_more_than_that() -> None:
    made = [threading.Event() for _ in range(6)]

    def make() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    items = work_ahead(make())
    assert next(items) == 0
    # One image waits to be taken, and the thread holds another.
    assert made[1].wait(10) and made[2].wait(10)
    assert not made[3].is_set()
    items.close()


@pytest.mark.parametrize("error", [ValueError("of the third"), KeyboardInterrupt()])
def test_an_error_is_raised_where_the_items_are_taken(error: BaseException) -> None:
    def make() -> Iterator[int]:
        yield from (1, 2)
        raise error

    taken = []
    with pytest.raises(type(error)):
        for item in work_ahead(work_ahead(make())):
            taken.append(item)
    assert taken == [1, 2]


def test_closed_early_it_closes_what_it_takes_from_and_its_thread_ends() -> None:
    closed, before = [], threading.active_count()

    def make() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = work_ahead(work_ahead(make()))
    next(items)
    items.close()
    assert closed == [True] and threading.active_count() == before


def test_lists_are_taken_as_they_are() -> None:
    assert list(work_ahead([3, 1, 2])) == [3, 1, 2] and list(work_ahead([])) == []
