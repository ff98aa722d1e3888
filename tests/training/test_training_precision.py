"""Scaled losses: clipping sees true gradients; overflows cost a step, many a divergence."""

import math

import pytest
import torch
from torch import nn

from cion_core.training.optimizers import keep_layout, sgd
from cion_core.training.precision import MOST_SKIPPED, Precision, resolve

CPU = torch.device("cpu")


def test_the_precision_of_this_machine_and_those_that_are_named():
    assert Precision("auto", CPU).name == "float32"
    x = torch.ones(2, 2)
    for name, dtype in (
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ):
        precision = Precision(name, CPU)
        with precision.autocast():
            assert (x @ x).dtype == dtype
        assert precision.scaler.is_enabled() == (name == "float16")


@pytest.mark.parametrize(("emulates", "name"), [(True, "float16"), (False, "bfloat16")])
def test_a_gpu_that_only_emulates_bfloat16_takes_float16(monkeypatch, emulates, name):
    """A V100 says that it can, and is several times slower with it."""
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or not emulates,
    )
    assert resolve("auto", torch.device("cuda")) == name


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_clipping_bounds_the_true_gradient(name):
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0, fused=True), Precision(name, CPU)
    precision.backward((weight**2).sum() / 2)
    assert name == "float32" or weight.grad.norm() > 1000, "the loss was scaled"
    largest = precision.clip(optimizer, 1.0)
    assert largest.item() == pytest.approx(5.0)
    precision.step(optimizer, largest)
    assert precision.may_continue(largest.item())
    torch.testing.assert_close(weight.data, torch.tensor([3 - 0.6, 4 - 0.8]))


def test_each_parameter_is_clipped_by_itself():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
    optimizer = torch.optim.SGD([a, b], lr=1)
    clip = Precision("float32", CPU).clip
    assert clip(optimizer, 0.0).item() == pytest.approx(5.0) and a.grad.tolist() == [3.0, 4.0]
    assert clip(optimizer, 1.0).item() == pytest.approx(5.0)
    assert a.grad.norm().item() == pytest.approx(1.0, rel=1e-4) and b.grad.item() == 0.5
    b.grad[0] = math.nan
    assert math.isnan(clip(optimizer, 1.0).item())


OPTIMIZERS = {
    "sgd": lambda groups: sgd(groups, 1.0, 0.9),
    "adam": lambda groups: torch.optim.Adam(groups, lr=1.0, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1.0, fused=True),
    "not fused": lambda groups: torch.optim.AdamW(groups, lr=1.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_that_is_left_out_leaves_no_trace(name, scaled):
    """Not even at first, when the optimiser holds nothing: the next step is like the first."""
    ways = []
    for slopes in ([math.nan, 0.5], [0.5]):
        weight = nn.Parameter(torch.ones(3))
        optimizer = OPTIMIZERS[name]([{"params": [weight]}])
        precision = Precision("float16" if scaled else "float32", CPU)
        for slope in slopes:
            optimizer.zero_grad()
            precision.backward((weight * slope).sum())
            precision.step(optimizer, precision.clip(optimizer, 0.0))
            if math.isnan(slope):
                assert weight.tolist() == [1.0] * 3
        ways.append([weight.detach(), *optimizer.state[weight].values()])
    for one, other in zip(*ways, strict=True):
        torch.testing.assert_close(one, other)


def test_an_overflow_lowers_the_scale_and_many_in_a_row_are_a_divergence():
    weight = nn.Parameter(torch.ones(1))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0, fused=True), Precision("float16", CPU)

    def step(slope):
        optimizer.zero_grad()
        precision.backward(weight.sum() * slope)
        largest = precision.clip(optimizer, 0.0)
        precision.step(optimizer, largest)
        return precision.may_continue(largest.item())

    scale = precision.scaler.get_scale()
    assert step(float("inf")) and weight.item() == 1 and precision.scaler.get_scale() == scale / 2
    assert step(0.25) and weight.item() == 0.75
    assert [step(float("inf")) for _ in range(MOST_SKIPPED)] == [True] * (MOST_SKIPPED - 1) + [
        False
    ]
    other = Precision("float16", CPU)
    other.load_state_dict(precision.state_dict())
    assert other.scaler.get_scale() == precision.scaler.get_scale()


def test_without_a_scale_what_is_not_finite_ends_it():
    weight = nn.Parameter(torch.ones(1))
    optimizer, precision = torch.optim.SGD([weight], lr=1.0, fused=True), Precision("float32", CPU)
    precision.backward(weight.sum() * float("nan"))
    largest = precision.clip(optimizer, 0.0)
    precision.step(optimizer, largest)
    assert not precision.may_continue(largest.item()) and weight.item() == 1


def test_what_an_optimiser_keeps_is_laid_out_as_its_weights_are():
    weight = nn.Parameter(torch.zeros(2, 4, 3, 3))
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    weight.grad = torch.randn(2, 4, 3, 3)
    optimizer.step()
    moved = nn.Parameter(weight.data.to(memory_format=torch.channels_last))
    other = torch.optim.AdamW([moved], lr=1.0, fused=True)
    other.load_state_dict(optimizer.state_dict())
    keep_layout(other)
    for name in ("exp_avg", "exp_avg_sq"):
        assert other.state[moved][name].stride() == moved.stride()
        assert torch.equal(other.state[moved][name], optimizer.state[weight][name])
