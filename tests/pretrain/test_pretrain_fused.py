"""The loss from the last layer's inputs against that of logits, which is tested elsewhere."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cion_core.pretrain import fused
from cion_core.pretrain.losses import IdentityGuidedLoss, mix_targets


def heads(views, crops, dim, width, dtype=torch.float64, seed=0):
    """Unit bottlenecks and prototypes of student and teacher."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    student, teacher = (
        F.normalize(normal(views * crops, width)),
        F.normalize(normal(2 * crops, width)),
    )
    return (
        student.requires_grad_(),
        (3 * normal(dim, width)).requires_grad_(),
        teacher,
        normal(dim, width),
    )


def targets_of(loss, logits, instances):
    """What teacher logits ask for, by the formula."""
    return mix_targets(F.softmax((logits - loss.center) / loss.teacher_temp, dim=1), instances)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 2, 4]), st.integers(0, 3), st.integers(1, 20), st.integers(0, 100))
def test_it_is_the_loss_of_the_logits(instances, local_views, chunk, seed):
    views = 2 + local_views
    student, prototypes, teacher, others = heads(views, 2 * instances, dim=13, width=5, seed=seed)
    loss = IdentityGuidedLoss(13, views).double().eval()
    loss.center.copy_(torch.linspace(-0.05, 0.1, 13))
    expected = loss(fused.cosines(student, prototypes), fused.cosines(teacher, others), instances)
    entropy = loss.entropy.clone()
    expected_gradients = torch.autograd.grad(expected, (student, prototypes))
    targets = targets_of(loss, fused.cosines(teacher, others), instances)
    value = fused.loss_from_prototypes(student, prototypes, targets, views, 0.1, chunk)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    for found, wanted in zip(
        torch.autograd.grad(value, (student, prototypes)), expected_gradients, strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    whole = loss.loss_from_heads(student, prototypes, teacher, others, instances)
    torch.testing.assert_close(whole, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(loss.entropy, entropy)


def test_gradients_are_those_of_finite_differences():
    student, prototypes, teacher, others = heads(views=3, crops=2, dim=7, width=3)
    targets = targets_of(IdentityGuidedLoss(7, 3).double(), fused.cosines(teacher, others), 2)
    assert torch.autograd.gradcheck(
        lambda s, p: fused.loss_from_prototypes(s, p, targets, 3, 0.1, 3), (student, prototypes)
    )
    logits = fused.cosines(student, prototypes).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: fused.loss_from_logits(s, targets, 3, 0.1), (logits,))


def test_float32_at_a_size_that_has_many_chunks():
    student, prototypes, teacher, others = heads(6, 8, dim=10_000, width=16, dtype=torch.float32)
    loss = IdentityGuidedLoss(10_000, 6).eval()
    pairs = []
    for value in (
        loss(fused.cosines(student, prototypes), fused.cosines(teacher, others), 4),
        loss.loss_from_heads(student, prototypes, teacher, others, 4),
    ):
        pairs.append((value, *torch.autograd.grad(value, (student, prototypes))))
    for plain, ours in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5 * plain.abs().max().item())


def test_a_scaled_loss_has_scaled_gradients_and_fixed_prototypes_none():
    student, prototypes, teacher, others = heads(2, 2, dim=9, width=4, dtype=torch.float32)
    loss = IdentityGuidedLoss(9, 2).eval()
    plain = torch.autograd.grad(
        loss.loss_from_heads(student, prototypes, teacher, others, 2), (student, prototypes)
    )
    scaled = torch.autograd.grad(
        loss.loss_from_heads(student, prototypes, teacher, others, 2) * 1024, (student, prototypes)
    )
    for one, other in zip(plain, scaled, strict=True):
        torch.testing.assert_close(1024 * one, other)
    loss.loss_from_heads(student, prototypes.detach(), teacher, others, 2).backward()
    torch.testing.assert_close(student.grad, plain[0])


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_of_either_kind_takes_products_of_float16_and_sums_in_float32(low):
    student, prototypes, teacher, others = heads(4, 8, dim=300, width=16, dtype=torch.float32)
    loss = IdentityGuidedLoss(300, 4).eval()
    exact = loss.loss_from_heads(student, prototypes, teacher, others, 2)
    wanted = torch.autograd.grad(exact, (student, prototypes))
    with torch.autocast("cpu", low):
        value = loss.loss_from_heads(student, prototypes, teacher, others, 2)
    found = torch.autograd.grad(value, (student, prototypes))
    assert value.dtype == torch.float32 and value != exact
    torch.testing.assert_close(value, exact, rtol=1e-4, atol=0)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99999


def test_probabilities_below_what_float16_holds_still_count():
    """Logits of zero over 65,536 prototypes have 1.5e-5 each.

    float16 alone would keep eight bits of it.
    """
    student, prototypes, *_ = heads(2, 2, dim=1 << 16, width=4, dtype=torch.float32)
    targets = torch.full((4, 1 << 16), 1 / (1 << 16))
    wanted = torch.autograd.grad(
        fused.loss_from_prototypes(student, prototypes, targets, 2, 50.0), (student, prototypes)
    )
    with torch.autocast("cpu", torch.bfloat16):
        value = fused.loss_from_prototypes(student, prototypes, targets, 2, 50.0)
    for found, gradient in zip(
        torch.autograd.grad(value, (student, prototypes)), wanted, strict=True
    ):
        assert (found - gradient).norm() < 0.05 * gradient.norm()


def test_parts_of_a_batch_move_the_centre_once_and_as_the_whole():
    student, prototypes, teacher, others = heads(2, 4, dim=11, width=4, dtype=torch.float32)
    whole, parts = IdentityGuidedLoss(11, 2), IdentityGuidedLoss(11, 2)
    whole.loss_from_heads(student, prototypes, teacher, others, 2)
    assert not whole.center.any(), "it moves when the step is over"
    whole.move_center()
    for half in (slice(0, 2), slice(2, 4)):
        rows = [x.unflatten(0, (2, 4))[:, half].flatten(0, 1) for x in (student, teacher)]
        parts.loss_from_heads(rows[0], prototypes, rows[1], others, 2)
    parts.move_center()
    torch.testing.assert_close(parts.center, whole.center)
    assert whole.center.any()
    logits = IdentityGuidedLoss(11, 2)
    logits(fused.cosines(student, prototypes), fused.cosines(teacher, others), 2)
    torch.testing.assert_close(logits.center, whole.center)


def test_bfloat16_is_near_enough_where_a_network_has_converged():
    """Crops lie at prototypes in groups of eight alike: the softmax is sharp, and yet spread."""
    views, crops, instances, dim, width = 4, 16, 4, 4096, 256
    generator = torch.Generator().manual_seed(0)

    def unit(*shape):
        return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64))

    prototypes = F.normalize(
        unit(dim // 8, width).repeat_interleave(8, 0) + 0.25 * unit(dim, width)
    )
    who = torch.randint(0, dim, (crops // instances,), generator=generator).repeat_interleave(
        instances
    )
    seen = prototypes[who]
    student = F.normalize(seen.repeat(views, 1) + unit(views * crops, width)).requires_grad_()
    teacher = F.normalize(seen.repeat(2, 1) + unit(2 * crops, width))
    prototypes.requires_grad_()
    loss = IdentityGuidedLoss(dim, views).eval()
    exact = IdentityGuidedLoss(dim, views).double().eval()
    value = exact.loss_from_heads(student, prototypes, teacher, prototypes.detach(), instances)
    wanted = torch.autograd.grad(value, (student, prototypes))
    low = [tensor.detach().float().requires_grad_() for tensor in (student, prototypes)]
    with torch.autocast("cpu", torch.bfloat16):
        value = loss.loss_from_heads(*low, teacher.float(), low[1].detach(), instances)
    for found, gradient in zip(torch.autograd.grad(value, low), wanted, strict=True):
        assert (found - gradient).norm() < 0.002 * gradient.norm()
