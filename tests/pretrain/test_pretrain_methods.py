"""Methods: what moves, what follows, and what is kept."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from cion_core import zoo
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import momentum_update, parameter_groups


@pytest.fixture
def method(settings):
    def build(name, **changes):
        torch.manual_seed(0)
        return METHODS.named(name)(
            settings(**changes), zoo.create_model("resnet10_ibn", (32, 16)), 5
        ).train()

    return build


def batch(method, crops=8):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(crops, 3, *kind.size, generator=generator) for kind in method.view_kinds()]


WHO = torch.arange(8) % 5  # whose crops they are


@pytest.mark.parametrize("name", ["lup", "pnl", "dino", "tracklet", "cion"])
def test_a_step_moves_the_student_and_the_teacher_only_follows(method, name):
    learner = method(name)
    optimizer = learner.optimizer()
    student, teacher = (
        (learner.query, learner.key)
        if name in ("lup", "pnl")
        else (learner.student, learner.teacher)
    )
    before, before_teacher = copy.deepcopy(student), copy.deepcopy(teacher)
    assert all(
        torch.equal(a, b) for a, b in zip(student.parameters(), teacher.parameters(), strict=True)
    )
    loss, watched = learner(batch(learner), 1, WHO)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters()) and all(
        v.isfinite() for v in watched.values()
    )
    optimizer.step()
    rates = learner.rates(0, 100)
    learner.after(rates)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(student.parameters(), before.parameters(), strict=True)
    )
    for t, old, s in zip(
        teacher.parameters(), before_teacher.parameters(), student.parameters(), strict=True
    ):
        torch.testing.assert_close(t, rates.momentum * old + (1 - rates.momentum) * s)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("dino", "teacher"),
        ("tracklet", "teacher"),
        ("cion", "teacher"),
        ("lup", "query"),
        ("pnl", "query"),
    ],
)
def test_which_backbone_is_kept(method, name, kept):
    learner = method(name)
    assert learner.kept_network is (
        learner.query[0] if kept == "query" else learner.teacher["backbone"]
    )


def test_cion_and_tracklet_differ_in_their_identities_alone(method):
    cion, tracklet = method("cion"), method("tracklet")
    assert (cion.labels, tracklet.labels) == ("cross_video", "video")
    views = batch(cion)
    assert torch.equal(cion(views, 4, WHO)[0], tracklet(views, 4, WHO)[0])
    assert not torch.equal(cion(views, 4, WHO)[0], cion(views, 1, WHO)[0])
    assert method("dino").phases == [(0.0, 1)]


def test_schedules_follow_steps_and_not_k(method):
    phases = [(0.0, 2), (0.4, 4), (0.6, 8)]
    changing, steady = method("cion", cion={"lr": 0.003, "instances": phases}), method("cion")
    rates = [changing.rates(step, 100) for step in range(100)]
    assert rates == [steady.rates(step, 100) for step in range(100)]
    assert max(abs(a.lr - b.lr) for a, b in pairwise(rates[10:])) < 0.003 * 0.02
    assert rates[0].momentum == steady.p.momentum.teacher and rates[-1].momentum == pytest.approx(
        1.0
    )
    assert (rates[0].weight_decay, rates[-1].weight_decay) == pytest.approx((0.04, 0.4))


def test_the_last_layer_is_frozen_first(method):
    learner = method("cion", freeze_last=0.05)
    assert (
        learner.frozen(4, 100) == [learner.student["head"].prototypes]
        and learner.frozen(5, 100) == []
    )


def test_weight_decay_leaves_biases_and_norms_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = parameter_groups(net)
    assert decayed["decays"] and not spared["decays"]
    assert [p.shape for p in decayed["params"]] == [net[0].weight.shape, net[3].weight.shape]
    assert len(spared["params"]) == 4


def test_local_views_may_be_none(method):
    learner = method("cion", local_views=0)
    assert learner(batch(learner), 2, WHO)[0].isfinite()


def test_the_queue_takes_keys_in_order_and_wraps(method):
    learner = method("lup")
    assert len(learner.queue) == 12
    for count in (8, 8):
        before = learner.queue.clone()
        learner(batch(learner, count), 1, WHO)
        assert torch.equal(learner.queue, before), "a step may be made of several parts"
        learner.after(learner.rates(0, 1))
    assert learner.position == 4
    assert torch.equal(learner.queue[4:8], before[4:8]), "not yet overwritten again"
    assert (learner.queue[:4] != before[:4]).all() and (learner.queue[8:] != before[8:]).all()
    torch.testing.assert_close(learner.queue.norm(dim=1), torch.ones(12))
    kept = learner.queue.clone()
    learner.eval()(batch(learner), 1, WHO)
    learner.after(learner.rates(0, 1))
    assert torch.equal(learner.queue, kept)


def test_shuffled_keys_come_back_in_their_order(method):
    learner = method("lup")
    learner.key.eval()  # without batch statistics the shuffle must not show
    views = batch(learner)
    keys = nn.functional.normalize(learner.key(views[1]))
    learner(views, 1, WHO)
    learner.after(learner.rates(0, 1))
    torch.testing.assert_close(learner.queue[: len(keys)], keys)


def test_follow_by_hand():
    teacher, student = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(teacher.weight, 1.0)
    nn.init.constant_(student.weight, 2.0)
    momentum_update(teacher, student, 0.9)
    assert teacher.weight.item() == pytest.approx(1.1)


PUBLISHED = {
    "lr": 0.3,
    "temperature": 0.1,
    "queue": 12,
    "momentum": 0.999,
    "dim": 8,
    "weight_decay": 1e-4,
}


def test_lup_is_as_published_unless_told_otherwise(method):
    """No warm-up, weight decay on biases and norms too, and crops of torchvision's usual shapes."""
    learner = method("lup", lup=PUBLISHED)
    (group,) = learner.optimizer().param_groups
    assert group["decays"] and len(group["params"]) == len(list(learner.query.parameters()))
    assert learner.rates(0, 100).lr == 0.3 and learner.rates(50, 100).lr < 0.16
    assert {kind.ratio for kind in learner.view_kinds()} == {(3 / 4, 4 / 3)}
    other = method(
        "lup",
        lup={**PUBLISHED, "decay_all": False, "warms_up": True, "ratio": (0.4, 0.6)},
        warmup=0.1,
    )
    assert [group["decays"] for group in other.optimizer().param_groups] == [True, False]
    assert other.rates(0, 100).lr == pytest.approx(0.03) and other.view_kinds()[0].ratio == (
        0.4,
        0.6,
    )


def test_blocks_of_a_resnet_do_something_from_the_first_step():
    for name in ("resnet18", "resnet50_ibn"):
        network = zoo.create_model(name, (64, 32))
        blocks = [block for layer in (network.layer1, network.layer4) for block in layer]
        last = [block.bn3 if hasattr(block, "bn3") else block.bn2 for block in blocks]
        assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in last)
