"""Rounds: batches made anew from what has been learnt, at steps that no resume moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cion_core.runtime import Runtime
from cion_core.training.batches import Batches, Item
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.learner import Learner, Rates
from cion_core.training.loop import train

EVERY, STEPS = 3, 11
CPU = torch.device("cpu")


class Point(Learner):
    """A number that moves towards what it is shown."""

    name, advice = "point", ""
    kept_network = property(lambda self: self)

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(1.0))

    def networks(self) -> list[nn.Module]:
        return []

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self.at], "decays": False}], lr=0.1, momentum=0.9)

    def rates(self, step: int, steps: int) -> Rates:
        return Rates(0.1, 0.0)

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.at - views[0].mean()).pow(2), {}


class Rounds(Batches):
    """At each step a number that depends on the step and on the point at the round's start."""

    def __init__(self) -> None:
        self.goal, self.renewed = torch.tensor(0.0), []

    def __getitem__(self, step: int) -> Item:
        return Item(1, torch.zeros(1, dtype=torch.long), [(self.goal + step / 10).reshape(1, 1)])

    def end_of_round(self, step: int) -> int:
        return step - step % EVERY + EVERY

    def begin_round(self, step: int, learner: Point) -> None:
        self.renewed.append((step, round(self.goal.item(), 6)))
        if step % EVERY == 0:
            self.goal = 2 * learner.at.detach().clone()

    def state_dict(self) -> dict[str, Tensor]:
        return {"goal": self.goal}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.goal = state["goal"]


def run(folder: Path, stop: int = STEPS, workers: int = 0) -> tuple[list[dict], Rounds, Point]:
    """Train up to step `stop`, as one who is then killed."""
    learner, batches = Point(), Rounds()
    rows, runtime = [], Runtime(checkpoint_every=2, workers=workers)
    for row in train(learner, batches, STEPS, CPU, Checkpoints(folder), runtime):
        rows.append(row)
        if len(rows) == stop:
            break
    return rows, batches, learner


def test_by_hand_each_round_follows_where_the_last_one_led(tmp_path: Path) -> None:
    rows, batches, learner = run(tmp_path)
    at, speed, goal = 1.0, 0.0, 0.0
    begun = []
    for step in range(STEPS):
        if step % EVERY == 0:
            begun.append((step, pytest.approx(goal, abs=1e-5)))
            goal = 2 * at
        shown = goal + step / 10
        assert rows[step]["loss"] == pytest.approx((at - shown) ** 2, rel=1e-4)
        speed = 0.9 * speed + 2 * (at - shown)
        at -= 0.1 * speed
    assert batches.renewed == begun and learner.at.item() == pytest.approx(at, rel=1e-5)


@pytest.mark.parametrize(("stop", "first"), [(4, 4), (5, 4), (6, 6), (8, 8)])
def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(
    tmp_path: Path, stop: int, first: int
) -> None:
    whole, batches, learner = run(tmp_path / "whole")
    run(tmp_path / "killed", stop)
    again, renewed, resumed = run(tmp_path / "killed")
    assert again == whole and torch.equal(resumed.at, learner.at)
    # Renewed where it goes on, already told what the round before, or this one, had begun with.
    goals = dict(batches.renewed)
    inside = goals[first - first % EVERY + EVERY] if first % EVERY else goals[first]
    assert renewed.renewed[0] == (first, inside)
    assert renewed.renewed[1:] == [(step, goal) for step, goal in batches.renewed if step > first]


def test_workers_are_told_of_each_round(tmp_path: Path) -> None:
    assert run(tmp_path / "workers", stop=4, workers=1)[0] == run(tmp_path / "own", stop=4)[0]
