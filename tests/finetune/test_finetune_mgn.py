"""MGN: the weights of its recipe written out, its schedule and frozen start, its numbers.

The numbers are all that are published.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe_run import SIZE, MadeUp, in_processes, prepared, train_recipe
from torch import Tensor, nn
from torch.func import functional_call

from cion_core import zoo
from cion_core.config import checked
from cion_core.errors import CionError
from cion_core.finetune.heads import Cosines
from cion_core.finetune.multi_granularity import MultiGranularity
from cion_core.finetune.recipes.mgn import MGN, learning_rate
from cion_core.training.sampler import ChunkSampler
from cion_core.zoo import Card

BACKBONE = "resnet10_ibn"
# Four people in eight images: two steps an epoch, of two groups of eight, the first two steps of
# them frozen.
SHORT = {
    "epochs": 5,
    "warmup": 2,
    "flat": 3,
    "freeze": 1,
    "identities": 4,
    "instances": 4,
    "group": 8,
    "lr": 1e-3,
}
PEOPLE = {"people": 4, "each": 8}


def differences(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


def circle(features: Tensor, weight: Tensor, people: Tensor) -> Tensor:
    """Smoothed cross-entropy of the circle softmax, one logit at a time."""
    losses = []
    for feature, person in zip(features, people.tolist(), strict=True):
        logits = []
        for other, row in enumerate(weight):
            c = (feature @ row) / feature.norm() / row.norm()
            away = 1.35 - c.item() if other == person else c.item() + 0.35
            logits.append(64 * max(away, 0.0) * (c - (0.65 if other == person else 0.35)))
        chance = torch.stack(logits).log_softmax(0)
        others = chance.sum() - chance[person]
        losses.append(-0.9 * chance[person] - 0.1 / (len(weight) - 1) * others)
    return torch.stack(losses).mean()


def triplet(features: Tensor, people: Tensor) -> Tensor:
    losses = []
    for anchor, person in zip(features, people, strict=True):
        apart = (features - anchor).pow(2).sum(1).clamp_min(1e-12).sqrt()
        losses.append(
            torch.log(1 + torch.exp(apart[people == person].max() - apart[people != person].min()))
        )
    return torch.stack(losses).mean()


def loss_of(features: Tensor, classifiers: list[Cosines], people: Tensor) -> Tensor:
    b1, b2, b3, b21, b22, b31, b32, b33 = heads = [
        features[:, 256 * i : 256 * (i + 1)] for i in range(8)
    ]
    identity = sum(
        circle(own, of.weight, people) for own, of in zip(heads, classifiers, strict=True)
    )
    joined = [b1, b2, b3, torch.cat([b21, b22], 1), torch.cat([b31, b32, b33], 1)]
    return 0.125 * identity + 0.2 * sum(triplet(own, people) for own in joined)


def with_statistics_of_the_first(network: nn.Module, groups: list[Tensor]) -> Tensor:
    """Each group through batch norms by itself, and running means as after the first."""
    aside = [{key: value.clone() for key, value in network.named_buffers()} for _ in groups[1:]]
    others = [
        functional_call(network, state, group)
        for state, group in zip(aside, groups[1:], strict=True)
    ]
    return torch.cat([network(groups[0]), *others])


def literal(steps: int) -> tuple[nn.Module, list[float]]:
    """SHORT as one loop that shares nothing, with Adam written out; the network and the losses."""
    made, recipe = MadeUp(**PEOPLE), prepared("mgn", SHORT, BACKBONE)[0]
    torch.manual_seed(1)
    network = MultiGranularity(zoo.create_model(BACKBONE, SIZE))
    classifiers = [Cosines(256, 4) for _ in range(8)]
    named = [*network.named_parameters()] + [
        (f"classifier{i}", own.weight) for i, own in enumerate(classifiers)
    ]
    named = [(name, weight) for name, weight in named if weight.requires_grad]
    moments = {
        name: [torch.zeros_like(weight), torch.zeros_like(weight), 0] for name, weight in named
    }
    batches, losses = ChunkSampler(made.people, 4, 4, 3), []
    for step in range(steps):
        rows = batches(step)[0]
        rows = np.concatenate([rows[0::2], rows[1::2]])
        views = [
            recipe.view(made(row), np.random.default_rng([3, 2, step, i]))
            for i, row in enumerate(rows)
        ]
        frozen = step < 2
        network.train()
        if frozen:
            network.trunk.eval()
            network.branches.eval()
        images = torch.from_numpy(np.stack(views))
        features = with_statistics_of_the_first(network, [images[:8], images[8:]])
        loss = loss_of(features, classifiers, torch.from_numpy(made.people[rows]))
        gradients = torch.autograd.grad(loss, [weight for _, weight in named])
        epoch = step / 2
        lr = 1e-3 * (0.01 + 0.99 * epoch / 2 if epoch < 2 else 1.0)
        if epoch > 3:
            lr = 1e-3 * (0.0022 + 0.9978 * (1 + math.cos(math.pi * (epoch - 3) / 2)) / 2)
        with torch.no_grad():
            for (name, weight), gradient in zip(named, gradients, strict=True):
                if frozen and name.startswith(("trunk", "branches")):
                    continue
                gradient = gradient + 5e-4 * weight
                first, second, count = moments[name]
                first, second, count = (
                    0.9 * first + 0.1 * gradient,
                    0.999 * second + 0.001 * gradient**2,
                    count + 1,
                )
                moments[name] = [first, second, count]
                weight -= (
                    lr * first / (1 - 0.9**count) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
                )
        losses.append(loss.item())
    return network, losses


def test_the_weights_are_those_of_the_loop_written_out(tmp_path: Path) -> None:
    learner, rows, *_ = train_recipe("mgn", SHORT, str(tmp_path), **PEOPLE)
    assert len(rows) == 10
    network, losses = literal(10)
    # Rounding grows from step to step, on some CPUs to two parts in 10^5 at the tenth.
    found = [row["loss"] for row in rows]
    np.testing.assert_allclose(found[:5], losses[:5], rtol=1e-6)
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    assert differences(learner.kept_network, network) < 1e-3, (
        "a step of Adam is 1e-3 however small a gradient"
    )


def test_the_first_epochs_leave_what_is_pretrained_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = MultiGranularity(zoo.create_model(BACKBONE, SIZE))
    states = []
    for stop in (2, 3):
        learner, *_ = train_recipe("mgn", SHORT, str(tmp_path / str(stop)), stop=stop, **PEOPLE)
        states.append(copy.deepcopy(learner.network))
    frozen, freed = states
    for part in ("trunk", "branches"):  # weights and running means
        assert differences(getattr(frozen, part), getattr(network, part)) == 0.0
        assert differences(getattr(freed, part), getattr(network, part)) > 1e-4
        before, after = getattr(network, part).named_buffers(), getattr(freed, part).named_buffers()
        moved = {
            key: not torch.equal(one, other)
            for (key, one), (_, other) in zip(before, after, strict=True)
        }
        assert all(moved.values()), "and all of them move at once when it ends"
    for part in ("norms", "heads"):
        moved = [
            not torch.equal(a, b)
            for a, b in zip(
                getattr(frozen, part).state_dict().values(),
                getattr(network, part).state_dict().values(),
                strict=True,
            )
        ]
        assert sum(not one for one in moved) == (8 if part == "heads" else 0), (
            "all but the fixed biases"
        )
    assert learner.frozen(1, 10) and not learner.frozen(2, 10)


def test_two_processes_are_one_with_the_same_groups(tmp_path: Path) -> None:
    weights, history = in_processes(
        2, name="mgn", settings=SHORT, folder=str(tmp_path / "two"), **PEOPLE
    )
    alone, rows, *_ = train_recipe("mgn", SHORT, str(tmp_path / "one"), **PEOPLE)
    np.testing.assert_allclose(
        [row["loss"] for row in history], [row["loss"] for row in rows], rtol=1e-5
    )
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-5)


def test_an_interrupted_run_changes_no_bit(tmp_path: Path) -> None:
    whole, rows, *_ = train_recipe("mgn", SHORT, str(tmp_path / "whole"), **PEOPLE)
    for stop in (1, 5):  # in the frozen epoch, and after it
        train_recipe("mgn", SHORT, str(tmp_path / "again"), stop=stop, **PEOPLE, checkpoint_every=1)
    again, resumed, *_ = train_recipe("mgn", SHORT, str(tmp_path / "again"), **PEOPLE)
    assert resumed == rows and differences(again, whole) == 0.0


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_learns_too(precision: str, tmp_path: Path) -> None:
    few = SHORT | {
        "epochs": 2,
        "warmup": 0,
        "flat": 1,
        "freeze": 0.25,
        "identities": 2,
        "instances": 2,
        "group": 4,
    }
    plain, lower = (
        train_recipe("mgn", few, str(tmp_path / name), **PEOPLE, precision=name, stop=4)
        for name in ("float32", precision)
    )
    assert {value.dtype for value in lower[0].parameters()} == {torch.float32}
    np.testing.assert_allclose(lower[1][0]["loss"], plain[1][0]["loss"], rtol=0.02)
    assert 0 < differences(lower[0].kept_network, plain[0].kept_network) < 1
    assert all(math.isfinite(row["loss"]) for row in lower[1])


def test_mgn_learns(tmp_path: Path) -> None:
    _, rows, *_ = train_recipe("mgn", SHORT | {"epochs": 12}, str(tmp_path), **PEOPLE)
    assert np.mean([row["loss"] for row in rows[-5:]]) < 0.5 * np.mean(
        [row["loss"] for row in rows[:5]]
    )
    assert np.mean([row["accuracy"] for row in rows[-5:]]) > 0.6
    assert all(
        row["loss"] == pytest.approx(row["identity_loss"] + row["triplet_loss"], rel=1e-5)
        for row in rows
    )


def test_the_rate_follows_the_published_schedule() -> None:
    learner = prepared("mgn", {}, BACKBONE)[0].learner(
        zoo.create_model(BACKBONE, SIZE), np.arange(751)
    )
    steps = 60 * 202  # Market-1501
    rates = [learner.rates(step, steps).lr for step in range(steps + 1)]
    at = {epoch: rates[int(epoch * 202)] for epoch in (0, 5, 10, 20, 30, 45, 60)}
    wanted = {
        0: 3.5e-6,
        5: 3.5e-4 * 0.505,
        10: 3.5e-4,
        20: 3.5e-4,
        30: 3.5e-4,
        45: (3.5e-4 + 7.7e-7) / 2,
        60: 7.7e-7,
    }
    assert at == pytest.approx(wanted, rel=1e-9)
    # Every iteration has its own: in the warm-up the same rise, on the cosine a fall.
    assert np.diff(rates[: 10 * 202]) == pytest.approx(3.5e-4 * 0.99 / 2020, rel=1e-6)
    assert (
        set(rates[10 * 202 : 30 * 202 + 1]) == {3.5e-4} and (np.diff(rates[30 * 202 :]) < 0).all()
    )
    assert rates[40 * 202 + 7] == pytest.approx(
        7.7e-7 + 3.4923e-4 * (1 + math.cos(math.pi * 2027 / 6060)) / 2
    )
    frozen = [step for step in range(steps) if learner.frozen(step, steps)]
    assert frozen == list(range(10 * 202))


def test_no_warm_up_and_no_plateau() -> None:
    assert learning_rate(0, 4, 0, 0, 1.0) == 1.0 and learning_rate(
        2, 4, 0, 0, 1.0
    ) == pytest.approx((1 + 0.0022) / 2)


def test_the_published_numbers() -> None:
    recipe, _ = prepared("mgn", {"image": (384, 128)}, BACKBONE)
    s = recipe.settings
    assert s == MGN.Settings() and (s.batch, s.group, s.weight_decay) == (64, 16, 5e-4)
    assert recipe.steps(np.repeat(np.arange(751), 18)[:12936]) == 60 * 202
    assert recipe.steps(np.r_[np.repeat(np.arange(10), 13), np.full(500, -1)]) == 60 * 2, (
        "whom nobody knows is no image"
    )
    assert recipe.steps(np.repeat(np.arange(4), 2)) == 60, "an epoch is one step at least"
    view = recipe.augmentation
    assert (view.pad, view.flip, view.erasing.share, view.erasing.area) == (
        10,
        0.5,
        0.5,
        (0.02, 0.4),
    )
    assert view.erasing.ratio == pytest.approx((0.3, 3.33), abs=0.01) and not view.erasing.log
    assert prepared("mgn", {"image": (96, 48)}, BACKBONE)[0].augmentation.pad == round(
        96 * 10 / 384
    )


def test_what_is_erased_is_black_before_normalising() -> None:
    recipe, _ = prepared("mgn", {}, BACKBONE)
    image = np.full((*SIZE, 3), 255, np.uint8)
    values = np.concatenate(
        [recipe.view(image, np.random.default_rng(i)).reshape(3, -1) for i in range(20)], 1
    )
    mean, std = np.array([0.485, 0.456, 0.406])[:, None], np.array([0.229, 0.224, 0.225])[:, None]
    pixels = values * std + mean
    assert np.unique(pixels.round(5)).tolist() == [0.0, 1.0]


def test_all_weights_decay_and_have_one_rate() -> None:
    learner = prepared("mgn", {}, BACKBONE)[0].learner(
        zoo.create_model(BACKBONE, SIZE), np.arange(5)
    )
    optimizer = learner.optimizer()
    (group,) = optimizer.param_groups
    fixed = {id(head.norm.bias) for head in learner.network.heads}
    assert type(optimizer) is torch.optim.Adam and group["decays"] and "times" not in group
    assert {id(w) for w in group["params"]} == {id(w) for w in learner.parameters()} - fixed
    assert learner.clip == 0.0 and not learner.synchronised and not learner.can_accumulate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 12}, "group 12: .* 4 identities; valid: 4, 8, 16, 32, 64"),
        ({"instances": 6, "group": 16}, "group 16: .*valid: 4, 8, 12, 24"),
        ({"epochs": 20}, "warmup 10, flat 30 and freeze 10 are epochs of the 20; valid"),
        ({"warmup": 31}, "warmup 31, flat 30"),
        ({"freeze": 60}, "freeze 60"),
        ({"identities": 1}, "identities: must be at least 2, found 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(CionError, match=message):
        checked(changes, MGN.Settings, "params.yaml")


def test_without_groups_batch_norms_go_by_all() -> None:
    recipe, _ = prepared("mgn", SHORT | {"group": None}, BACKBONE)
    people = np.repeat(np.arange(5), 8)
    assert recipe.learner(zoo.create_model(BACKBONE, SIZE), people).synchronised
    rows, instances = recipe.sampler(people, people)(0)
    assert instances == 4 and rows.tolist() == ChunkSampler(people, 4, 4, 3)(0)[0].tolist()


def test_people_that_are_too_few_and_processes_that_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, _ = prepared("mgn", SHORT, BACKBONE)
    with pytest.raises(
        ValueError, match=r"3 training people, but finetune\.mgn\.identities .* 4 .*valid: 2 to 3"
    ):
        recipe.sampler(np.array([0, 0, 1, 2, -1]), np.zeros(5))
    monkeypatch.setattr("cion_core.training.ranks.size", lambda: 4)
    with pytest.raises(
        ValueError, match=r"finetune\.mgn\.group 8: the 4 images .* 4 processes .* divisor of 4"
    ):
        recipe.learner(zoo.create_model(BACKBONE, SIZE), np.arange(5))


def test_a_backbone_that_is_no_resnet() -> None:
    card = Card("swin_tiny", "cion", SIZE, (0.5,) * 3, (0.5,) * 3, 768)
    with pytest.raises(
        CionError, match=r"mgn cuts a ResNet .*swin_tiny is not; valid: resnet18, .*resnet10_ibn"
    ):
        MGN(MGN.Settings()).prepare(card)
