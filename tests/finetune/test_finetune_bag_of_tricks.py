"""The customary recipe: the weights of its published loop, and every published number."""

from __future__ import annotations

import copy
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe_run import SIZE, MadeUp, in_processes, prepared, train_recipe
from torch import nn

from cion_core import zoo
from cion_core.config import checked
from cion_core.errors import CionError
from cion_core.finetune import published_batches as table
from cion_core.finetune.recipes.bag_of_tricks import BagOfTricks, Neck, learning_rate
from cion_core.training.sampler import ChunkSampler
from cion_core.zoo.names import ZOO
from cion_core.zoo.weights import put

NAME = "bag_of_tricks"
# A run on four people in four images each.
SHORT = {"epochs": 6, "batch": 6, "instances": 2, "lr": 0.01, "warmup": 0.5}


def differences(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


def triplet(features: torch.Tensor, people: torch.Tensor) -> torch.Tensor:
    losses = []
    for anchor, person in zip(features, people, strict=True):
        apart = (features - anchor).pow(2).sum(1).clamp_min(1e-12).sqrt()
        losses.append(
            torch.log(1 + torch.exp(apart[people == person].max() - apart[people != person].min()))
        )
    return torch.stack(losses).mean()


def literal(steps: int) -> tuple[nn.Module, list[float]]:
    """SHORT as one loop that shares nothing, with SGD written out; the backbone and the losses."""
    made = MadeUp(4, 4)
    torch.manual_seed(1)
    network = zoo.create_model("resnet10_ibn", SIZE).train()
    neck = Neck(network.num_features, 4).train()
    named = [
        *network.named_parameters(),
        ("neck.weight", neck.norm.weight),
        ("classifier", neck.classifier.weight),
    ]
    speed = {name: torch.zeros_like(weight) for name, weight in named}
    sampler, recipe, losses = (
        ChunkSampler(made.people, 3, 2, 3),
        prepared(NAME, SHORT, "resnet10_ibn")[0],
        [],
    )
    for step in range(steps):
        rows, _ = sampler(step)
        views = [
            recipe.view(made(row), np.random.default_rng([3, 2, step, i]))
            for i, row in enumerate(rows)
        ]
        people = torch.from_numpy(made.people[rows])
        features = network(torch.from_numpy(np.stack(views)))
        logits = neck(features)
        sure = logits.softmax(1)[torch.arange(6), people]
        loss = -sure.log().mean() + triplet(features, people)
        gradients = torch.autograd.grad(loss, [weight for _, weight in named])
        epoch = sampler.epoch(step)
        lr = 0.01 * (
            0.01 + epoch * 0.99 / 3
            if epoch < 3
            else 0.002 + 0.998 * (1 + math.cos(math.pi * epoch / 6)) / 2
        )
        with torch.no_grad():
            for (name, weight), gradient in zip(named, gradients, strict=True):
                speed[name] = 0.9 * speed[name] + gradient + 1e-4 * weight
                weight -= lr * (2 if "bias" in name else 1) * speed[name]
        losses.append(loss.item())
    return network, losses


def test_the_weights_are_those_of_the_loop_written_out(tmp_path: Path) -> None:
    learner, rows, *_ = train_recipe(NAME, SHORT, str(tmp_path))
    assert len(rows) > 10, "six epochs of two batches, or one"
    expected, losses = literal(len(rows))
    np.testing.assert_allclose([row["loss"] for row in rows], losses, rtol=1e-4)
    assert differences(learner.kept_network, expected) < 1e-4
    fresh = zoo.create_model("resnet10_ibn", SIZE)
    assert differences(learner.kept_network, fresh) > 1e-2, "and something was learnt"


def test_the_rate_is_the_published_one_with_its_jump() -> None:
    rates = [learning_rate(epoch, 120, 20, 1.0) for epoch in range(120)]
    by_hand = {
        0: 0.01,
        1: 0.0595,
        10: 0.505,
        19: 0.9505,
        20: 0.002 + 0.998 * (1 + 3**0.5 / 2) / 2,
        60: 0.501,
    }
    assert {epoch: rates[epoch] for epoch in by_hand} == pytest.approx(by_hand)
    assert rates[20] == pytest.approx(0.933, abs=1e-3) and rates[119] == pytest.approx(
        0.002 + 0.998 * 1.713e-4, rel=1e-4
    )
    assert (np.diff(rates[:20]) > 0).all() and (np.diff(rates[19:]) < 0).all()


def test_the_bag_of_tricks_learns(tmp_path: Path) -> None:
    _, rows, *_ = train_recipe(
        NAME, SHORT | {"epochs": 30, "lr": 0.003, "warmup": 0.1}, str(tmp_path)
    )
    losses, right = ([row[key] for row in rows] for key in ("loss", "accuracy"))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:10]) and np.mean(
        right[:10]
    ) < 0.5 < 0.7 < np.mean(right[-20:])
    assert {"identity_loss", "triplet_loss", "lr", "weight_decay"} <= set(rows[0])
    assert all(
        row["loss"] == pytest.approx(row["identity_loss"] + row["triplet_loss"], rel=1e-5)
        for row in rows
    )


def test_an_empty_section_is_the_published_recipe() -> None:
    recipe, _ = prepared(NAME, {"image": (256, 128)}, "resnet50")
    assert BagOfTricks.Settings().image == (256, 128) and BagOfTricks.Settings().epochs == 120
    assert (recipe.batch, recipe.lr, recipe.rising) == (512, pytest.approx(3.2e-3), 20)
    assert (recipe.mean, recipe.std) == ((0.5,) * 3, (0.5,) * 3) and recipe.resizing == (
        "bicubic",
        "bilinear",
    )
    cut = recipe.augmentation
    assert (cut.pad, cut.flip, cut.erasing.share) == (10, 0.5, 0.5)
    assert (cut.erasing.area, cut.erasing.log, cut.erasing.fill) == ((0.02, 1 / 3), True, None)
    assert prepared(NAME, {"image": (384, 192)}, "resnet50")[0].augmentation.pad == 15
    assert prepared(NAME, {"image": None}, "resnet50")[0].size == SIZE, "that of pre-training"
    people = np.arange(150).repeat(8)
    sampler = recipe.sampler(people, people)
    assert (sampler.people, sampler.instances) == (128, 4) and recipe.steps(
        people
    ) == sampler.first_step(120) >= 240
    assert recipe.built_by() == "", "the bare backbone"


@pytest.mark.parametrize(
    ("backbone", "settings", "expected"),
    [
        ("resnet18", {}, (256, 1.6e-3, 20)),
        ("resnet18", {"as_on": "msmt17"}, (32, 2e-4, 20)),
        ("convnext_base", {}, (120, 8e-4, 20)),
        ("convnext_base", {"as_on": "msmt17"}, (256, 1.6e-3, 20)),
        ("convnext_base", {"batch": 120}, (120, 7.5e-4, 20)),
        ("swin_base", {}, (64, 4e-4, 20)),
        ("swin_base", {"as_on": "msmt17"}, (64, 2e-4, 20)),
        ("ghostnet_0_5", {}, (32, 2e-4, 40)),
        ("ghostnet_0_5", {"as_on": "msmt17"}, (32, 2e-4, 20)),
        ("ghostnet_0_5", {"epochs": 12}, (32, 2e-4, 4)),
        ("vit_base", {"batch": 64, "lr": 1e-3, "warmup": 0}, (64, 1e-3, 0)),
    ],
)
def test_batches_rates_and_warm_ups(backbone: str, settings: dict, expected: tuple) -> None:
    recipe = BagOfTricks(BagOfTricks.Settings.model_validate(settings))
    recipe.prepare(zoo.Card(backbone, "cion", SIZE, (0.5,) * 3, (0.5,) * 3, 1))
    assert (recipe.batch, recipe.lr, recipe.rising) == pytest.approx(expected)


def test_every_backbone_of_the_zoo_has_one_batch_on_each_data_set() -> None:
    for on, batches in table.BATCHES.items():
        assert sorted(" ".join(batches.values()).split()) == sorted(ZOO)
        assert all(table.published_settings(backbone, on).size % 4 == 0 for backbone in ZOO)
    sizes = {
        on: Counter(table.published_settings(backbone, on).size for backbone in ZOO)
        for on in table.BATCHES
    }
    assert sizes == {
        "market1501": {512: 4, 384: 1, 256: 7, 128: 5, 120: 1, 64: 13, 32: 1},
        "msmt17": {512: 2, 384: 1, 256: 2, 128: 5, 64: 18, 32: 4},
    }


def test_a_backbone_that_nothing_is_published_for_is_told_so(capsys: pytest.CaptureFixture) -> None:
    prepared(NAME, {}, "resnet50")
    prepared(NAME, {"batch": 8}, "resnet10_ibn")
    assert capsys.readouterr().out == ""
    assert prepared(NAME, {}, "resnet10_ibn")[0].batch == 64
    assert (
        "no batch is published for resnet10_ibn; finetune.bag_of_tricks.batch is 64"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("settings", [{}, {"batch": 20}, {"batch": 6}, {"batch": 4}])
def test_a_batch_of_more_people_than_there_are_or_of_no_whole_people(settings: dict) -> None:
    recipe, _ = prepared(NAME, settings, "resnet50")
    people = np.array([0, 1, 2, -1, 3]).repeat(5)
    with pytest.raises(
        ValueError, match=r"4 training people, and finetune\.bag_of_tricks\.batch .* from 8 to 16"
    ):
        recipe.sampler(people, people)


def test_settings_that_are_none_are_named() -> None:
    for values, wrong in (
        ({"as_on": "duke"}, "as_on"),
        ({"margin": 0.3}, "margin"),
        ({"instances": 1}, "instances"),
    ):
        with pytest.raises(CionError, match=rf"params\.yaml:\n\s+{wrong}"):
            checked(values, BagOfTricks.Settings, "params.yaml")


@pytest.mark.parametrize("backbone", ["resnet10_ibn", "swin_tiny"])
def test_biases_learn_twice_as_fast_and_everything_decays(backbone: str) -> None:
    size = {"image": (64, 32)}
    recipe, _ = prepared(NAME, SHORT | size, backbone)
    learner = recipe.learner(zoo.create_model(backbone, (64, 32)), np.arange(4).repeat(4))
    names = {id(weight): name for name, weight in learner.named_parameters()}
    weights, biases = learner.optimizer().param_groups
    assert (
        biases["times"] == 2 and "times" not in weights and weights["decays"] and biases["decays"]
    )
    fast = {names[id(weight)] for weight in biases["params"]}
    assert fast == {
        name for name, w in learner.named_parameters() if "bias" in name and w.requires_grad
    }
    assert any(name.endswith("position_bias_table") for name in fast) == (backbone == "swin_tiny")
    assert len(weights["params"]) + len(fast) == sum(w.requires_grad for w in learner.parameters())
    assert "neck.norm.bias" not in fast and {"neck.norm.weight", "neck.classifier.weight"} < set(
        names.values()
    )
    assert learner.neck.classifier.weight.std().item() == pytest.approx(1e-3, rel=0.1)


def test_batch_norms_go_by_groups_where_they_are_asked_to() -> None:
    made, views = MadeUp(4, 4), torch.randn(8, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    people = torch.arange(8) // 2
    losses = {}
    for group in (None, 8, 4):
        torch.manual_seed(0)
        recipe, _ = prepared(NAME, SHORT | {"group": group}, "resnet10_ibn")
        learner = recipe.learner(zoo.create_model("resnet10_ibn", SIZE), made.people).train()
        assert learner.synchronised == (group is None)
        parts = (
            [copy.deepcopy(learner.backbone)(views[i : i + 4]) for i in (0, 4)]
            if group == 4
            else None
        )
        losses[group], watched = learner([views], 2, people)
        if parts:
            torch.testing.assert_close(watched["triplet_loss"], triplet(torch.cat(parts), people))
    assert losses[None] == losses[8] != losses[4]


def test_a_run_that_is_killed_and_goes_on_changes_no_bit(tmp_path: Path) -> None:
    whole, rows, *_ = train_recipe(NAME, SHORT, str(tmp_path / "whole"))
    for stop in (3, 6):
        train_recipe(NAME, SHORT, str(tmp_path / "killed"), stop=stop)
    resumed, again, *_ = train_recipe(NAME, SHORT, str(tmp_path / "killed"))
    assert again == rows and differences(whole, resumed) == 0


def test_two_processes_are_one_with_the_same_groups(tmp_path: Path) -> None:
    settings = SHORT | {"batch": 8, "epochs": 10, "group": 4}
    alone, rows, *_ = train_recipe(NAME, settings, str(tmp_path / "alone"))
    assert len(rows) >= 10
    both, history = in_processes(2, name=NAME, settings=settings, folder=str(tmp_path / "both"))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(both[key], value, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(history, rows, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_learns_too(tmp_path: Path, precision: str) -> None:
    settings = SHORT | {"epochs": 1}
    plain, rows, *_ = train_recipe(NAME, settings, str(tmp_path / "plain"))
    lower, half, *_ = train_recipe(NAME, settings, str(tmp_path / "lower"), precision=precision)
    assert {value.dtype for value in lower.parameters()} == {torch.float32}
    assert (
        half[0]["loss"] == pytest.approx(rows[0]["loss"], rel=0.1) and differences(plain, lower) > 0
    )
    assert all(math.isfinite(row["loss"]) for row in half)


def test_the_model_folder_embeds_as_the_learner_did(tmp_path: Path) -> None:
    learner, _, recipe, card = train_recipe(NAME, SHORT | {"epochs": 1}, str(tmp_path / "run"))
    model = recipe.inference(card)
    put(model, learner.kept_network.state_dict(), "what it trained")
    kept = zoo.Card(card.backbone, "cion", recipe.size, recipe.mean, recipe.std, card.num_features,
                    resize=recipe.resizing[1], built_by=recipe.built_by())  # fmt: skip
    zoo.save(tmp_path / "model", model, kept)
    loaded, found = zoo.load(tmp_path / "model")
    images = [np.full((60, 30, 3), value, np.uint8) for value in (20, 200)]
    inputs = zoo.to_tensor(images, found)
    assert found.resize == "bilinear" and inputs[0].max() == pytest.approx(20 / 127.5 - 1, abs=1e-6)
    torch.testing.assert_close(loaded(inputs), learner.eval().backbone(inputs))
