"""Mistakes made on purpose with a small trained model, each of which must be named.

It has learnt rendered people.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cion_core import rendered, zoo
from cion_core.cli import app
from cion_core.deploy import sanity
from cion_core.zoo import Card

MEAN, STD = sanity.NORMALISATIONS["ImageNet's mean and std"]
CARD = Card("resnet10_ibn", "x", (64, 32), MEAN, STD, 256)


@pytest.fixture(scope="module")
def learnt() -> nn.Module:
    """A ResNet-10-IBN after some seconds of telling 64 other rendered people apart."""
    people, views = 64, 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = zoo.to_tensor(rendered.people(people, views, seed=1), CARD)
        who = torch.arange(people).repeat_interleave(views)
        model, head = zoo.create_model("resnet10_ibn", (64, 32)), nn.Linear(256, people)
        optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=2e-3)
        for _ in range(60):
            rows = torch.randperm(len(images))[:48]
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(model(images[rows])), who[rows]).backward()
            optimiser.step()
    return model.eval()


def swapped(model: nn.Module) -> nn.Module:
    """The same model for images whose red and blue are swapped."""
    other = zoo.create_model("resnet10_ibn", (64, 32)).eval()
    state = dict(model.state_dict())
    state["conv1.0.weight"] = state["conv1.0.weight"][:, [2, 1, 0]]
    other.load_state_dict(state)
    return other


def test_a_model_that_learnt_is_left_alone(learnt: nn.Module) -> None:
    assert sanity.check_network(learnt, CARD) == []


@pytest.mark.parametrize(("mean", "std"), [((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3)])
def test_a_wrong_normalisation_is_named(learnt: nn.Module, mean: tuple, std: tuple) -> None:
    (found,) = sanity.check_network(learnt, replace(CARD, mean=mean, std=std))
    assert "not prepared as in training" in found and "ImageNet's mean and std" in found


def test_bgr_for_rgb_is_named(learnt: nn.Module) -> None:
    (found,) = sanity.check_network(swapped(learnt), CARD)
    assert "BGR instead of RGB" in found


def test_random_weights_did_nothing() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = zoo.create_model("resnet10_ibn", (64, 32)).eval()
    (found,) = sanity.check_network(model, CARD)
    assert "these weights did nothing" in found


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 256), self.value)


@pytest.mark.parametrize(
    ("value", "message"), [(1.0, "same feature"), (float("nan"), "not finite")]
)
def test_features_that_say_nothing_are_named(value: float, message: str) -> None:
    (found,) = sanity.check_network(Constant(value), CARD)
    assert message in found


def test_the_sanity_command_fails_on_a_wrong_card(learnt: nn.Module, tmp_path: Path) -> None:
    zoo.save(tmp_path / "right", learnt, CARD)
    zoo.save(tmp_path / "wrong", learnt, replace(CARD, mean=(0.0,) * 3, std=(1.0,) * 3))
    done = [
        CliRunner().invoke(app, ["sanity", str(tmp_path / name)]) for name in ("right", "wrong")
    ]
    assert [one.exit_code for one in done] == [0, 1]
    assert "nothing wrong" in done[0].output and "ImageNet" in done[1].output


def test_a_score_counts_pairs_in_the_right_order() -> None:
    """Two people with two views each, on a circle.

    For the last image one pair of four is in the wrong order.
    """
    angles = np.radians([0, 10, 40, 100])
    features = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    # 0: own 10 < 40, 100. 10: own 10 < 30, 90. 40: own 60, others 40 and 30. 100: own 60, others
    # 100 and 90.
    assert np.allclose(sanity.score_people(features, 2), [1.0, (0 + 1) / 2])


def test_differences_are_told_in_standard_errors() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    assert sanity.standard_errors_above(noise + 1, noise + rng.normal(size=400)) > 3
    assert sanity.standard_errors_above(noise, noise) == 0
    near, far = rng.normal(size=(100, 8)), rng.normal(size=(100, 8)) + 1
    assert sanity.compare_mean_shifts(near, far) > 3 and sanity.compare_mean_shifts(far, near) < -3
    assert sanity.compare_mean_shifts(near[:, :0], far[:, :0]) == 0
