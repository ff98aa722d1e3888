"""PNL: its three terms beside their definitions, labels corrected by hand, and prototypes that follow."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cion_core.pretrain.methods.pnl import Pnl, corrected, move

FACTS = {
    "lr": 0.05, "temperature": 0.1, "queue": 12, "momentum": 0.9, "dim": 6, "weight_decay": 0.0,
    "prototype_momentum": 0.5, "alpha": 0.5, "threshold": 0.8, "correct_from": 0.5,
}  # fmt: skip


class Flat(nn.Sequential):
    """A backbone of one layer."""

    num_features = 8

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(24, 8))


@pytest.fixture
def learner(settings):
    torch.manual_seed(0)
    return Pnl(settings(pnl=FACTS), Flat(), 3).train()


def views(seed=0, crops=6):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(crops, 3, 4, 2, generator=generator) for _ in range(2)]


def test_the_loss_is_the_sum_of_its_three_terms(learner):
    learner.prototypes.copy_(F.normalize(torch.randn(3, 6)))
    labels, (first, second) = torch.tensor([0, 1, 2, 0, 1, 2]), views()
    learner.rates(0, 10)
    value, watched = learner([first, second], 1, labels)
    expected = 0.0
    for crop, other, label in zip(first, second, labels.tolist(), strict=True):
        features = learner.query[0](crop[None])[0]
        query = F.normalize(learner.query[1](features), dim=0)
        key = F.normalize(learner.key(other[None])[0], dim=0)
        classes = learner.classifier(features)
        expected -= classes[label] - torch.log(sum(math.e**x for x in classes))
        near = [math.e ** (query @ c / 0.1) for c in learner.prototypes]
        expected -= torch.log(near[label] / sum(near))
        positive = math.e ** (query @ key / 0.1)
        expected -= torch.log(positive / (positive + sum(math.e ** (query @ k / 0.1) for k in learner.queue)))
    torch.testing.assert_close(value, expected / 6, rtol=1e-5, atol=1e-5)
    assert watched["corrected"] == 0


def test_labels_are_corrected_where_both_are_sure():
    settings = Pnl.Settings(**FACTS)
    outputs = torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    near = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 0.0]])  # 0.5 + 0.5; 0.5 each; 0.5 * 0.45 + 0.5
    assert corrected(outputs, near, torch.tensor([2, 2, 2]), settings).tolist() == [0, 2, 2]
    one = settings.model_copy(update={"alpha": 1.0})  # the classifier alone
    assert corrected(outputs, near, torch.tensor([2, 2, 2]), one).tolist() == [0, 0, 2]


def test_labels_are_left_alone_until_their_time(learner):
    learner.classifier.weight.data.zero_()
    learner.classifier.bias.data.copy_(torch.tensor([50.0, 0, 0]))
    labels = torch.tensor([1, 1, 2, 2, 0, 0])
    direction = F.normalize(learner.query(views()[0])).mean(0)
    learner.prototypes.copy_(torch.stack([F.normalize(direction, dim=0), -direction, -direction]))
    shares = []
    for step in (4, 5):
        learner.rates(step, 10)
        shares.append(learner(views(), 1, labels)[1]["corrected"].item())
    assert shares[0] == 0 and shares[1] > 0


def test_prototypes_move_by_hand():
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    move(prototypes, torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([0, 0, 2]), 0.5)
    half = 0.5**0.5
    torch.testing.assert_close(prototypes, torch.tensor([[half, half], [0.0, 1.0], [0.6, 0.8]]))


def test_it_learns_three_people(learner):
    generator, optimizer = torch.Generator().manual_seed(3), learner.optimizer()
    people = torch.randn(3, 3, 4, 2, generator=generator)
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    for step in range(60):
        labels = torch.arange(6) % 3
        seen = [people[labels] + 0.3 * torch.randn(6, 3, 4, 2, generator=generator) for _ in range(2)]
        rates = learner.rates(step, 60)
        loss, _ = learner(seen, 1, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.after(rates)
    labels = torch.arange(30) % 3
    features = learner.query[0](people[labels] + 0.3 * torch.randn(30, 3, 4, 2, generator=generator))
    assert torch.equal(learner.classifier(features).argmax(1), labels)
    assert torch.equal((learner.query[1](features) @ learner.prototypes.T).argmax(1), labels)
