from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cion_core import params
from cion_core.errors import CionError
from cion_core.finetune.engine import learning_rate, train
from cion_core.training.checkpoint import Checkpoints

SETTINGS = dict(
    seed=0, device="cpu", steps=12, identities=3, instances=2, lr=1e-2, weight_decay=1e-4, margin=0.3,
    smoothing=0.1, checkpoint_every=4,
)  # fmt: skip
LABELS = np.repeat(range(4), 3)


class Tiny(nn.Module):
    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))


def tiny() -> Tiny:
    torch.manual_seed(1)
    return Tiny()


def read(row: int) -> np.ndarray:
    """Images of one colour per class, with noise."""
    colour = np.random.default_rng(LABELS[row]).integers(0, 256, 3)
    noise = np.random.default_rng([9, row]).normal(0, 20, (16, 8, 3))
    return (colour + noise).clip(0, 255).astype(np.uint8)


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def steps(model: nn.Module, folder: Path, read=read, **changes):
    p = params.Finetune(**{**SETTINGS, **changes})
    return train(model, read, to_tensor, LABELS, p, torch.device("cpu"), Checkpoints(folder))


def test_it_learns(tmp_path: Path) -> None:
    history = list(steps(tiny(), tmp_path, steps=60))
    assert [row["step"] for row in history] == list(range(60))
    assert np.mean([row["loss"] for row in history[-5:]]) < 0.7 * np.mean([row["loss"] for row in history[:5]])


def test_stopped_and_resumed_equals_one_run_bit_for_bit(tmp_path: Path) -> None:
    whole, broken = tiny(), tiny()
    expected = list(steps(whole, tmp_path / "whole"))
    list(islice(steps(broken, tmp_path / "broken"), 7))  # stops after step 6; the checkpoint is of step 4
    torch.manual_seed(123)  # a new process would not have our generator's state
    resumed = tiny()
    assert list(steps(resumed, tmp_path / "broken")) == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = tiny()
    run = steps(model, tmp_path)
    list(islice(run, 6))
    with torch.no_grad():
        model.net[0].weight.fill_(torch.nan)
    with pytest.raises(CionError, match=r"(?s)nan at step 6.*finetune\.lr"):
        next(run)
    assert Checkpoints(tmp_path).latest()[0] == 4


def test_the_rate_rises_then_falls_without_a_jump() -> None:
    rates = np.array([learning_rate(step, 100, 1.0) for step in range(100)])
    assert rates.argmax() == 9 or rates.argmax() == 10
    assert rates[0] == 0.1 and rates[-1] < 1e-3
    assert np.abs(np.diff(rates)).max() <= 0.1 + 1e-9
