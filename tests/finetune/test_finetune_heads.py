"""Heads, and the circle softmax worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cion_core.finetune.heads import Cosines, Head, circle_logits
from cion_core.finetune.losses import smoothed_cross_entropy


def test_circle_logits_by_hand() -> None:
    cosines = torch.tensor(
        [[0.5, -0.5, 0.25], [0.9, 0.8, 0.0]], dtype=torch.float64, requires_grad=True
    )
    logits = circle_logits(cosines, torch.tensor([0, 1]))
    # Right: 64·(1.35 - c)·(c - 0.65). Others: 64·(c + 0.35)·(c - 0.35), or 0 where c + 0.35 is
    # below 0.
    wanted = [
        [64 * 0.85 * -0.15, 0.0, 64 * 0.60 * -0.10],
        [64 * 1.25 * 0.55, 64 * 0.55 * 0.15, 64 * 0.35 * -0.35],
    ]
    torch.testing.assert_close(logits, torch.tensor(wanted, dtype=torch.float64))
    # The brackets are weights: the gradient is 64 times them, and not that of a parabola.
    (gradient,) = torch.autograd.grad(logits.sum(), cosines)
    wanted = [[64 * 0.85, 0.0, 64 * 0.60], [64 * 1.25, 64 * 0.55, 64 * 0.35]]
    torch.testing.assert_close(gradient, torch.tensor(wanted, dtype=torch.float64))


def test_a_cosine_beyond_where_it_should_be_has_no_pull() -> None:
    cosines = torch.tensor([[0.9, -0.4]], requires_grad=True)
    logits = circle_logits(cosines, torch.tensor([0]), scale=2.0, margin=-0.2)
    # Right: 2·[0.8 - 0.9]₊ = 0; another: 2·[-0.4 - 0.2]₊ = 0.
    assert logits.tolist() == [[0.0, 0.0]] and torch.autograd.grad(logits.sum(), cosines)[
        0
    ].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("count", [2, 5, 40])
def test_smoothing_leaves_the_right_person_nine_tenths(count: int) -> None:
    logits = torch.randn(
        7, count, generator=torch.Generator().manual_seed(count), dtype=torch.float64
    )
    people = torch.arange(7) % count
    losses = []
    for row, person in zip(logits.log_softmax(1), people.tolist(), strict=True):
        targets = [0.9 if other == person else 0.1 / (count - 1) for other in range(count)]
        losses.append(-sum(target * value for target, value in zip(targets, row, strict=True)))
    torch.testing.assert_close(smoothed_cross_entropy(logits, people, 0.1), sum(losses) / 7)


def test_a_head_equals_its_formula() -> None:
    torch.manual_seed(0)
    head = Head(6, 4).train()
    maps = torch.rand(5, 6, 3, 2)
    means = torch.stack([maps[:, :, i, j] ** 3 for i in range(3) for j in range(2)]).mean(0) ** (
        1 / 3
    )
    narrow = means @ head.reduce.weight.T
    wanted = (
        (narrow - narrow.mean(0)) / (narrow.var(0, unbiased=False) + 1e-5).sqrt() * head.norm.weight
    )
    torch.testing.assert_close(head(maps), wanted, rtol=1e-4, atol=1e-5)
    assert (
        not head.norm.bias.any() and not head.norm.bias.requires_grad and head.reduce.bias is None
    )


def test_first_weights_are_the_published_ones() -> None:
    torch.manual_seed(0)
    head, classifier = Head(2048, 256), Cosines(256, 500)
    assert head.pool.p.tolist() == [3.0]
    assert head.reduce.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.01), (
        "kaiming, fan out"
    )
    assert head.norm.weight.mean().item() == pytest.approx(1.0, abs=0.005)
    assert head.norm.weight.std().item() == pytest.approx(0.02, rel=0.15)
    # Kaiming-uniform with a = √5: gain √(2/6) times √3 over √fan in, which is 1/√256.
    largest = classifier.weight.abs().max().item()
    assert largest <= 1 / 16 and largest == pytest.approx(1 / 16, rel=0.001)
    assert classifier.weight.std().item() == pytest.approx(1 / 16 / math.sqrt(3), rel=0.01)


def test_cosines_do_not_depend_on_length() -> None:
    classifier = Cosines(2, 3)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[2.0, 0], [0, 3], [-5, 0]]))
    found = classifier(torch.tensor([[7.0, 0], [1, 1]]))
    torch.testing.assert_close(
        found, torch.tensor([[1.0, 0, -1], [0.5**0.5, 0.5**0.5, -(0.5**0.5)]])
    )


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_head_stays_in_float32_under_autocast(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    head, maps = Head(6, 4), torch.rand(5, 6, 3, 2)
    plain = head(maps)
    with torch.autocast("cpu", precision):
        assert torch.equal(head(maps), plain)
