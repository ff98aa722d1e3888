"""Scaled losses: clipping sees the true gradients, an overflow costs a step, and many of them are a divergence."""

import pytest
import torch
from torch import nn

from cion_core.training.precision import SKIPPED, Precision

CPU = torch.device("cpu")


def test_the_precision_of_this_machine_and_those_that_are_named():
    assert Precision("auto", CPU).name == "float32"
    x = torch.ones(2, 2)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        precision = Precision(name, CPU)
        with precision.autocast():
            assert (x @ x).dtype == dtype
        assert precision.scaler.is_enabled() == (name == "float16")


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_clipping_bounds_the_true_gradient(name):
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision(name, CPU)
    precision.backward((weight**2).sum() / 2)
    assert name == "float32" or weight.grad.norm() > 1000, "the loss was scaled"
    assert precision.clip(optimizer, 1.0) == pytest.approx(5.0)
    assert precision.step(optimizer, 5.0)
    torch.testing.assert_close(weight.data, torch.tensor([3 - 0.6, 4 - 0.8]))


def test_an_overflow_lowers_the_scale_and_many_in_a_row_are_a_divergence():
    weight = nn.Parameter(torch.ones(1))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision("float16", CPU)

    def step(slope):
        optimizer.zero_grad()
        precision.backward(weight.sum() * slope)
        return precision.step(optimizer, precision.clip(optimizer, 0.0))

    scale = precision.scaler.get_scale()
    assert step(float("inf")) and weight.item() == 1 and precision.scaler.get_scale() == scale / 2
    assert step(0.25) and weight.item() == 0.75
    assert [step(float("inf")) for _ in range(SKIPPED)] == [True] * (SKIPPED - 1) + [False]
    state = precision.scaler.state_dict()
    other = Precision("float16", CPU)
    other.scaler.load_state_dict(state)
    assert other.scaler.get_scale() == precision.scaler.get_scale()


def test_without_a_scale_what_is_not_finite_ends_it():
    weight = nn.Parameter(torch.ones(1))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision("float32", CPU)
    precision.backward(weight.sum() * float("nan"))
    assert not precision.step(optimizer, precision.clip(optimizer, 0.0)) and weight.item() == 1
