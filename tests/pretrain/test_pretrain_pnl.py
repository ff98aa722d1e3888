"""PNL against a literal reference, crop by crop: its terms at each stage, and after a step."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cion_core.pretrain.methods.pnl import WIDTH, Pnl, correct_labels, update_prototypes
from cion_core.pretrain.views import lup, weak

STEPS, QUEUE, IDENTITIES = 90, 12, 3
FACTS = {
    "lr": 0.05, "temperature": 0.1, "queue": QUEUE, "momentum": 0.9, "dim": 6, "weight_decay": 0.0,
    "prototype_momentum": 0.5, "alpha": 0.5, "threshold": 0.6,
}  # fmt: skip


class Flat(nn.Sequential):
    """A backbone of one layer."""

    num_features = 8

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(24, 8))


@pytest.fixture
def learner(settings):
    torch.manual_seed(0)
    return Pnl(settings(pnl=FACTS), Flat(), IDENTITIES).train()


def views(seed=0, crops=6):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(crops, 3, 4, 2, generator=generator) for _ in range(2)]


def softmax(logits):
    weights = [math.e ** float(x.detach()) for x in logits]
    return [weight / sum(weights) for weight in weights]


class Literal:
    """The published step, written out: loops over crops, and everything in a list."""

    def __init__(self, learner):
        self.networks = learner
        self.queue = [(key, -1) for key in learner.queue.clone()]
        self.place = 0
        self.prototypes = [torch.zeros(FACTS["dim"]) for _ in range(IDENTITIES)]

    def loss(self, epoch, first, second, labels):
        self.met, total = [], 0.0
        for image, other, label in zip(first, second, labels.tolist(), strict=True):
            features = self.networks.query[0](image[None])
            query = F.normalize(self.networks.query[1](features))[0]
            key = F.normalize(self.networks.key(other[None]))[0].detach()
            classes = self.networks.classifier(features)[0]
            near = [query @ prototype / FACTS["temperature"] for prototype in self.prototypes]

            # contrast: its own key is a positive, and late in the run those of its label
            logits = [query @ key / FACTS["temperature"]]
            logits += [query @ waiting / FACTS["temperature"] for waiting, _ in self.queue]
            normaliser = torch.log(sum(math.e**x for x in logits))
            right = [logits[0]]
            if epoch >= 15:
                right += [
                    x
                    for x, (_, owner) in zip(logits[1:], self.queue, strict=True)
                    if owner == label
                ]
            total += sum(normaliser - x for x in right) / len(right)

            if epoch >= 11:
                soft = [(a + b) / 2 for a, b in zip(softmax(classes), softmax(near), strict=True)]
                label = soft.index(max(soft)) if max(soft) > FACTS["threshold"] else label
            total += torch.log(sum(math.e**x for x in classes)) - classes[label]
            if epoch >= 1:
                total += torch.log(sum(math.e**x for x in near)) - near[label]
            self.met.append((query.detach(), key, label))
        return total / len(labels)

    def after(self):
        for query, key, label in self.met:
            self.queue[self.place] = (key, label)
            self.place = (self.place + 1) % QUEUE
            self.prototypes[label] = 0.5 * self.prototypes[label] + 0.5 * query
        self.prototypes = [F.normalize(prototype, dim=0) for prototype in self.prototypes]


@pytest.mark.parametrize("epoch", [0, 1, 11, 15, 89])
def test_a_run_is_the_literal_one(learner, epoch):
    """Three steps fill queue and prototypes; then the step that counts, and what follows on it."""
    literal, corrections = Literal(copy.deepcopy(learner)), 0
    for step, at in enumerate((0, 0, 0, epoch)):
        labels = torch.tensor([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 2]][step % 2])
        shown = views(seed=step)
        rates = learner.rates(at, STEPS)
        learner.before(at, STEPS)
        value, watched = learner(shown, 1, labels)
        expected = literal.loss(at, *shown, labels)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
        wanted = torch.autograd.grad(expected, list(literal.networks.query.parameters()))
        found = torch.autograd.grad(value, list(learner.query.parameters()))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        corrections += watched["corrected"].item()
        learner.after(rates)
        literal.after()
        torch.testing.assert_close(learner.prototypes, torch.stack(literal.prototypes))
        torch.testing.assert_close(learner.queue, torch.stack([key for key, _ in literal.queue]))
        assert learner.owners.tolist() == [owner for _, owner in literal.queue]
    assert bool(corrections) == (epoch >= 11), "so that each stage is seen with what it brings"


def test_labels_are_corrected_where_both_are_sure():
    settings = Pnl.Settings(**FACTS | {"threshold": 0.8})
    outputs = torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    # 0.5 + 0.5; 0.5 each; 0.5 * 0.45 + 0.5.
    near = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 0.0]])
    assert correct_labels(outputs, near, torch.tensor([2, 2, 2]), settings).tolist() == [0, 2, 2]
    one = settings.model_copy(update={"alpha": 1.0})  # the classifier alone
    assert correct_labels(outputs, near, torch.tensor([2, 2, 2]), one).tolist() == [0, 0, 2]


def test_prototypes_move_by_hand():
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    update_prototypes(
        prototypes, torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 2, 0]), 0.5
    )
    # (1, 0) goes half way to (0, 1), and half of the rest: (0.25, 0.75)
    of_two = F.normalize(torch.tensor([0.25, 0.75]), dim=0)
    torch.testing.assert_close(
        prototypes, torch.stack([of_two, torch.tensor([0.0, 1.0]), torch.tensor([0.6, 0.8])])
    )


def test_the_rate_falls_twice_and_does_not_rise(learner):
    rates = [learner.rates(step, 180).lr for step in range(180)]
    assert rates[:80] == [0.05] * 80 and rates[80:160] == pytest.approx([0.005] * 80)
    assert rates[160:] == pytest.approx([0.0005] * 20)


def test_the_classifier_begins_as_published(settings):
    torch.manual_seed(0)

    class Wide(nn.Identity):
        num_features = 2048

    learner = Pnl(settings(pnl=FACTS), Wide(), 500)
    hidden, _, last = learner.classifier
    assert (hidden.out_features, last.out_features) == (WIDTH, 500) == (256, 500)
    assert hidden.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.01)
    assert last.weight.std().item() == pytest.approx(0.001, rel=0.01)
    assert not hidden.bias.any() and not last.bias.any()
    first, _, second = learner.query[1]
    assert first.weight.std().item() == pytest.approx((2 / 2048) ** 0.5, rel=0.01)
    assert second.weight.std().item() == pytest.approx((2 / 6) ** 0.5, rel=0.05)
    assert all(
        torch.equal(a, b)
        for a, b in zip(learner.query.parameters(), learner.key.parameters(), strict=True)
    )


def test_the_query_is_a_weak_view_and_the_key_a_strong_one(learner):
    image = learner.p.image
    assert learner.view_kinds() == [weak(image), lup(image, (3 / 4, 4 / 3))[1]]
    (group,) = learner.optimizer().param_groups
    learning = {*learner.query.parameters(), *learner.classifier.parameters()}
    assert group["decays"] and set(group["params"]) == learning


def test_it_learns_three_people(learner):
    generator, optimizer = torch.Generator().manual_seed(3), learner.optimizer()
    people = torch.randn(3, 3, 4, 2, generator=generator)
    for step in range(90):
        labels = torch.arange(6) % 3
        seen = [
            people[labels] + 0.3 * torch.randn(6, 3, 4, 2, generator=generator) for _ in range(2)
        ]
        rates = learner.rates(step, 90)
        learner.before(step, 90)
        for group in optimizer.param_groups:
            group["lr"] = rates.lr
        loss, _ = learner(seen, 1, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.after(rates)
    labels = torch.arange(30) % 3
    features = learner.query[0](
        people[labels] + 0.3 * torch.randn(30, 3, 4, 2, generator=generator)
    )
    assert torch.equal(learner.classifier(features).argmax(1), labels)
    assert torch.equal((learner.query[1](features) @ learner.prototypes.T).argmax(1), labels)
