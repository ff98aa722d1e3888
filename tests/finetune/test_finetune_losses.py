from __future__ import annotations

import torch

from cion_core.finetune.losses import batch_hard_triplet


def literal(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    losses = []
    for a in range(len(features)):
        positives = [
            (features[a] - features[p]).norm() for p in range(len(features)) if labels[p] == labels[a] and p != a
        ]
        negatives = [(features[a] - features[n]).norm() for n in range(len(features)) if labels[n] != labels[a]]
        losses.append(torch.clamp(margin + max(positives) - min(negatives), min=0))
    return torch.stack(losses).mean()


def test_equal_to_the_literal_definition_in_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    ours = batch_hard_triplet(features, labels, 0.3)
    theirs = literal(features, labels, 0.3)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, features)[0] for loss in (ours, theirs)), rtol=1e-7, atol=1e-9
    )


def test_by_hand() -> None:
    # Positives 1 apart, nearest negative 3 away: 2 below any margin up to 2.
    features = torch.tensor([[0.0, 0], [1, 0], [4, 0], [5, 0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert batch_hard_triplet(features, labels, 2.0).item() == 0
    # With margin 3.5 the inner two miss by 3.5 + 1 - 3, the outer two by 3.5 + 1 - 4.
    torch.testing.assert_close(batch_hard_triplet(features, labels, 3.5), torch.tensor((1.5 + 0.5) / 2))


def test_equal_features_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), 0.3).backward()
    assert torch.isfinite(features.grad).all()
