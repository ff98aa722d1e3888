from __future__ import annotations

import math

import pytest
import torch

from cion_core.finetune.losses import batch_hard_triplet


def literal(features: torch.Tensor, labels: torch.Tensor, margin: float | None) -> torch.Tensor:
    losses = []
    for a in range(len(features)):
        positives = [
            (features[a] - features[p]).norm()
            for p in range(len(features))
            if labels[p] == labels[a] and p != a
        ]
        negatives = [
            (features[a] - features[n]).norm()
            for n in range(len(features))
            if labels[n] != labels[a]
        ]
        behind = max(positives) - min(negatives)
        losses.append(
            torch.log(1 + behind.exp()) if margin is None else torch.clamp(margin + behind, min=0)
        )
    return torch.stack(losses).mean()


@pytest.mark.parametrize("margin", [0.3, 2.0, None])
def test_equal_to_the_literal_definition_in_value_and_gradient(margin: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    ours = batch_hard_triplet(features, labels, margin)
    theirs = literal(features, labels, margin)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, features)[0] for loss in (ours, theirs)), rtol=1e-7, atol=1e-9
    )


def test_losses_by_hand() -> None:
    # Positives 1 apart, nearest negative 3 away: 2 below any margin up to 2.
    features = torch.tensor([[0.0, 0], [1, 0], [4, 0], [5, 0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert batch_hard_triplet(features, labels, 2.0).item() == 0
    # With margin 3.5 the inner two miss by 3.5 + 1 - 3, the outer two by 3.5 + 1 - 4.
    torch.testing.assert_close(
        batch_hard_triplet(features, labels, 3.5), torch.tensor((1.5 + 0.5) / 2)
    )
    # With the soft one, the inner two are 2 clear of their nearest negative, the outer two 3.
    soft = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-3))) / 2
    torch.testing.assert_close(batch_hard_triplet(features, labels), torch.tensor(soft))


@pytest.mark.parametrize("margin", [0.3, None])
def test_equal_features_have_a_finite_gradient(margin: float | None) -> None:
    features = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), margin).backward()
    assert torch.isfinite(features.grad).all()


def test_features_far_apart_do_not_overflow_the_soft_margin() -> None:
    features = torch.tensor([[0.0], [1000.0], [1.0], [1001.0]], requires_grad=True)
    loss = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(999.0))
    assert torch.isfinite(features.grad).all()
