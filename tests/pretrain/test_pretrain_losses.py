"""The one-pass loss against the formula written out, against lightly's DINO, and by hand."""

import math

import pytest
import torch

from cion_core import compat  # noqa: F401  before lightly imports torchvision
from cion_core.pretrain.losses import IdentityGuidedLoss, info_nce, mix_targets


def literal(student, teacher, center, views, instances, student_temp, teacher_temp):
    """docs/architecture.md with every loop written out."""
    crops = teacher.shape[0] // 2
    groups = crops // instances

    def ce(u, s):
        target = torch.softmax((u - center) / teacher_temp, 0)
        return -(target * torch.log_softmax(s / student_temp, 0)).sum()

    total, pairs = 0, 0
    for q in range(2):
        for v in range(views):
            if v == q:
                continue
            u = teacher[q * crops : (q + 1) * crops]
            s = student[v * crops : (v + 1) * crops]
            value = sum(ce(u[b], s[b]) for b in range(crops)) / crops
            for i in range(instances):
                for j in range(instances):
                    if i != j:
                        each = [
                            ce(u[g * instances + i], s[g * instances + j]) for g in range(groups)
                        ]
                        value = value + sum(each) / groups
            total = total + value / (instances * (instances - 1) + 1)
            pairs += 1
    return total / pairs


def logits(views, crops, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(
        views * crops, dim, generator=generator, dtype=torch.float64, requires_grad=True
    )
    teacher = torch.randn(2 * crops, dim, generator=generator, dtype=torch.float64)
    return student, teacher


@pytest.mark.parametrize("instances", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("local_views", [0, 1, 2, 8])
def test_value_and_gradient_equal_the_double_loop(instances, local_views):
    views = 2 + local_views
    student, teacher = logits(views, 2 * instances, dim=7)
    loss = IdentityGuidedLoss(7, views, 0.1, 0.04).double()
    loss.center.copy_(torch.linspace(-0.05, 0.1, 7))
    expected = literal(student, teacher, loss.center.clone(), views, instances, 0.1, 0.04)
    value = loss(student, teacher, instances)
    (gradient,) = torch.autograd.grad(value, student)
    (expected_gradient,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("views", [2, 4])
def test_one_instance_is_the_dino_loss_of_lightly(views):
    lightly = pytest.importorskip("lightly.loss")
    crops, dim = 6, 16
    student, teacher = logits(views, crops, dim)
    reference = lightly.DINOLoss(
        output_dim=dim, teacher_temp=0.04, warmup_teacher_temp_epochs=0
    ).double()
    ours = IdentityGuidedLoss(dim, views).double()
    for _ in range(3):  # the centre moves alike from call to call
        expected = reference(list(teacher.chunk(2)), list(student.chunk(views)))
        torch.testing.assert_close(ours(student, teacher, 1), expected, rtol=1e-9, atol=0)


def test_the_order_of_instances_does_not_matter():
    instances, groups, views, dim = 4, 3, 4, 9
    student, teacher = logits(views, groups * instances, dim)
    loss = IdentityGuidedLoss(dim, views).double().eval()

    def value(order):
        ordered = [
            x.unflatten(0, (-1, groups * instances))[:, order].flatten(0, 1)
            for x in (student, teacher)
        ]
        return loss(*ordered, instances)

    crops = torch.arange(groups * instances)
    within = torch.stack(
        [group[torch.randperm(instances)] for group in crops.view(groups, instances)]
    )
    torch.testing.assert_close(value(within[torch.randperm(groups)].flatten()), value(crops))
    assert not torch.isclose(value(crops.roll(1)), value(crops)), (
        "which crops share an identity does matter"
    )


def test_mixed_targets_by_hand():
    t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # K = 2: (t + 2·other) / 3
    torch.testing.assert_close(mix_targets(t, 2), torch.tensor([[1 / 3, 2 / 3], [2 / 3, 1 / 3]]))
    assert mix_targets(t, 1) is t


def test_centre_moves_in_training_only_and_entropy_is_watched():
    loss = IdentityGuidedLoss(4, 2, center_momentum=0.9)
    teacher = torch.ones(2, 4) * torch.arange(4.0)
    loss.eval()(torch.zeros(2, 4), teacher, 1)
    assert loss.center.tolist() == [0.0] * 4
    value = loss.train()(torch.zeros(2, 4), torch.zeros(2, 4), 1)
    assert value.item() == pytest.approx(math.log(4)) and loss.entropy.item() == pytest.approx(
        math.log(4)
    )
    loss(torch.zeros(2, 4), teacher, 1)
    torch.testing.assert_close(loss.center, 0.1 * torch.arange(4.0))


@pytest.mark.parametrize("shape", [(7, 4, 1), (8, 3, 1), (8, 4, 3)])
def test_shapes_that_do_not_fit_are_errors(shape):
    student, teacher, instances = shape
    with pytest.raises(ValueError, match="do not fit"):
        IdentityGuidedLoss(5, 4)(torch.zeros(student, 5), torch.zeros(teacher, 5), instances)


def test_info_nce_by_hand():
    query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    queue = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    expected = -math.log(math.exp(0.6 / 0.1) / (math.exp(0.6 / 0.1) + 1 + math.exp(1 / 0.1)))
    assert info_nce(query, key, queue, 0.1).item() == pytest.approx(expected, rel=1e-5)
