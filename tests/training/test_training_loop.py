"""The loop's own duties: clipping each parameter, sparing what is frozen, decaying what decays."""

import math

import pytest
import torch
from torch import nn

from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training.batches import Batches, Item
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.learner import Learner, Rates
from cion_core.training.loop import Clock, train
from cion_core.training.readings import Readings


class Line(Learner):
    """One weight, which decays, and one bias; the loss is their sum times the batch's mean."""

    name = "line"
    advice = "lower room.line.lr"
    kept_network = property(lambda self: self.line)

    def __init__(self, frozen_until=0, clip=0.0):
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.ones_(self.line.weight)
        nn.init.zeros_(self.line.bias)
        self.frozen_until, self.bound = frozen_until, clip

    clip = property(lambda self: self.bound)

    def optimizer(self):
        groups = [
            {"params": [self.line.weight], "decays": True},
            {"params": [self.line.bias], "decays": False},
        ]
        return torch.optim.SGD(groups, lr=1.0, fused=True)

    def rates(self, step, steps):
        return Rates(lr=0.1 * (step + 1), weight_decay=0.5)

    def frozen(self, step, steps):
        return [self.line.weight] if step < self.frozen_until else []

    def networks(self):
        return []

    def forward(self, views, instances, identities):
        return views[0].mean() * (self.line.weight + self.line.bias).sum(), {
            "instances": torch.tensor(instances)
        }


class Steps(Batches):
    """Batches of one constant view per step."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, step):
        return Item(4, torch.zeros(2, dtype=torch.long), [torch.full((2, 1), self.values[step])])

    def load(self, steps, workers, device):
        return [self[step] for step in steps]


def run(learner, values, folder, **changes):
    runtime = Runtime(checkpoint_every=2, **changes)
    return list(
        train(
            learner, Steps(values), len(values), torch.device("cpu"), Checkpoints(folder), runtime
        )
    )


@pytest.mark.parametrize(("device", "pins"), [("cpu", False), ("cuda", True)])
def test_only_what_goes_to_a_gpu_waits_in_pinned_memory(monkeypatch, device, pins):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Batches.load(Steps([1.0]), range(1), 0, torch.device(device)).pin_memory is pins


def test_rates_decay_and_freeze_by_hand(tmp_path):
    method = Line(frozen_until=1)
    rows = run(method, [1.0, 1.0], tmp_path)
    # step 0: weight frozen, not even decayed; bias -= 0.1. Step 1: lr 0.2, weight -= 0.2·(1 +
    # 0.5·1), bias -= 0.2.
    assert method.line.weight.item() == pytest.approx(
        0.7
    ) and method.line.bias.item() == pytest.approx(-0.3)
    assert [row["loss"] for row in rows] == pytest.approx([1.0, 0.9])
    logged = {"step": 1, "lr": 0.2, "weight_decay": 0.5, "instances": 4}
    assert logged.items() <= rows[1].items()


def test_checkpoints_at_the_interval_and_at_the_end(tmp_path):
    run(Line(), [1.0] * 5, tmp_path)
    files = ["history.jsonl", "step-000000004.ckpt", "step-000000005.ckpt"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == files
    again = Line()
    rows = run(again, [1.0] * 5, tmp_path)
    assert [row["step"] for row in rows] == list(range(5)), (
        "history is whole without training again"
    )


def test_a_checkpoint_of_another_revision_is_named_and_kept(tmp_path):
    run(Line(), [1.0] * 2, tmp_path)
    checkpoints = Checkpoints(tmp_path)
    step, state = checkpoints.load_newest()
    renamed = {**state, "learner": {"curve.weight": torch.zeros(1, 1)}}
    for changed, lacking in (
        ({"learner": state["learner"]}, "no 'optimizer'"),
        (renamed, "Error.s. in loading"),
    ):
        checkpoints.save(step, changed)
        with pytest.raises(
            CionError, match=rf"{tmp_path}: .* after 2 steps of line .*{lacking}.*remove the folder"
        ):
            run(Line(), [1.0] * 2, tmp_path)
        assert len(checkpoints.files()) == 1


def test_an_infinite_loss_stops_and_says_what_to_do(tmp_path):
    advice = r"lower room\.line\.lr \(the learning rate was 0\.4\).*kept: .*step-000000002"
    message = rf"line at step 3: loss -?inf.*{advice}"
    with pytest.raises(CionError, match=message):
        run(Line(), [1.0, 1.0, 1.0, math.inf], tmp_path)
    with pytest.raises(CionError, match=r"at step 0: loss nan.*there was no checkpoint yet"):
        run(Line(), [math.nan], tmp_path / "fresh")


def test_a_batch_is_taken_in_parts_where_the_loss_allows_it(tmp_path):
    calls = []

    class Counted(Line):
        def forward(self, views, instances, identities):
            calls.append(len(identities))
            return super().forward(views, instances, identities)

    class Whole(Counted):
        can_accumulate = False

    run(Counted(), [1.0], tmp_path / "parts", accumulate=2)
    run(Whole(), [1.0], tmp_path / "whole", accumulate=2)
    assert calls == [1, 1, 2]


def test_a_learner_that_lacks_something_says_what():
    class Half(Line):
        optimizer = Learner.optimizer

    with pytest.raises(TypeError, match=r"Half .*optimizer"):
        Half()


def test_time_goes_on_from_the_checkpoint_of_a_killed_run(tmp_path):
    """The first process dies after step 3 of 4, with a checkpoint after step 2.

    Its time up to the checkpoint counts.
    """
    checkpoints, runtime, cpu = (
        Checkpoints(tmp_path),
        Runtime(checkpoint_every=2),
        torch.device("cpu"),
    )
    first = Clock()
    rows = train(Line(), Steps([1.0] * 4), 4, cpu, checkpoints, runtime, clock=first)
    next(rows)
    first.begun -= 100  # as if a step had taken so long
    next(rows)
    next(rows)
    kept = checkpoints.load_newest()[1]["seconds"]
    assert 100 <= kept < 160
    second = Clock()
    done = list(train(Line(), Steps([1.0] * 4), 4, cpu, checkpoints, runtime, clock=second))
    assert len(done) == 4 and second.before == kept and kept < second.seconds < kept + 60


@pytest.fixture
def late(monkeypatch):
    """Numbers are read a step late, as on a GPU."""
    begin = Readings.__init__

    def later(self, device):
        begin(self, device)
        self.delay = 1

    monkeypatch.setattr(Readings, "__init__", later)


def test_numbers_that_are_read_a_step_late_are_the_same(tmp_path, late, monkeypatch):
    steps = [1.0, 2.0, 3.0, 4.0, 5.0]
    rows = run(Line(), steps, tmp_path / "late")
    again = run(Line(), steps, tmp_path / "late")
    monkeypatch.undo()
    assert rows == again == run(Line(), steps, tmp_path / "at once")


def test_what_is_not_finite_is_found_a_step_late_and_never_saved(tmp_path, late):
    learner = Line()
    with pytest.raises(
        CionError, match=r"line at step 4: loss -?inf.*was 0\.5\).*kept: .*step-000000004"
    ):
        run(learner, [1.0, 1.0, 1.0, 1.0, math.inf, 1.0, 1.0], tmp_path)
    assert [file.name for file in Checkpoints(tmp_path).files()] == [
        "step-000000002.ckpt",
        "step-000000004.ckpt",
    ]


@pytest.mark.parametrize("first", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("then", ["float32", "bfloat16", "float16"])
def test_a_run_goes_on_in_another_precision(tmp_path, first, then):
    """As on another kind of GPU: only float16 has a scale; others neither need nor know it."""
    run(Line(), [1.0] * 2, tmp_path, precision=first)
    path = Checkpoints(tmp_path).files()[-1]
    path.rename(path.with_name("step-000000002.ckpt"))
    rows = run(Line(), [1.0] * 4, tmp_path, precision=then)
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all(math.isfinite(row["loss"]) for row in rows)
