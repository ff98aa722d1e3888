"""Items made ahead: in order, none lost, each begun before the one before is handed over."""

import torch

from cion_core.training.ahead import one_ahead, prepare_ahead


def test_each_is_begun_while_the_one_before_is_worked_on():
    events = []

    def begin(number):
        events.append(f"begin {number}")
        return number

    for number in one_ahead(range(4), begin):
        events.append(f"work {number}")
    assert events == [
        "begin 0", "begin 1", "work 0", "begin 2", "work 1", "begin 3", "work 2", "work 3",
    ]  # fmt: skip


def test_no_item_and_one_item_are_enough():
    assert list(one_ahead([], str)) == [] and list(one_ahead([7], str)) == ["7"]


def test_a_cpu_makes_an_item_when_it_is_wanted():
    made = []
    items = prepare_ahead(
        range(3), lambda number: made.append(number) or number, torch.device("cpu")
    )
    assert next(items) == 0 and made == [0] and list(items) == [1, 2]
