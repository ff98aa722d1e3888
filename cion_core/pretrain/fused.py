"""Cross-entropies of all student views with their targets, gradients made in the forward pass.

Autograd would keep several copies of the student's logits [V·B, D]. One copy alone is 315 MB at
B = 120, V = 10, D = 65,536. `loss_from_logits` is given the logits and keeps only their gradient.
`loss_from_prototypes` takes the last layer into itself, and never holds more than `CHUNK` columns
of them.

The rows of all tensors are ordered view by view, with the same B crops in each view: the student's
[V·B, ...], the targets [2·B, D], one target for each of the two teacher views. A student view never
meets the target of its own teacher view (docs/architecture.md):

    for view v of V:
        for target q of 2:
            if v != q:
                total += cross_entropy(target[q], student[v])

So view 0 meets target 1, view 1 meets target 0, and every local view meets both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

# Logits worked on at a time: on a CPU, what stays in its cache.
BLOCK = {"cpu": 1 << 18, "cuda": 1 << 28}
# Prototypes worked on at a time: on a GPU few kernels, of 80 MB for 1,200 rows.
CHUNK = {"cpu": 4096, "cuda": 16384}
# What probabilities are multiplied by: float16 holds less than all digits of those below 6e-5.
RAISED = 4096.0


def targets_per_view(views: int) -> list[int]:
    """How many targets each student view meets: one each of the global views, two a local one."""
    return [1, 1, *[2] * (views - 2)]


def loss_from_logits(student: Tensor, targets: Tensor, views: int, temperature: float) -> Tensor:
    """The mean cross-entropy -Σ y log softmax(s / τ) over all pairs of views that meet.

    Args:
        student: logits s, float [V·B, D], which alone get a gradient.
        targets: distributions y, float [2·B, D], each row summing to 1.
        views: V.
        temperature: τ.

    Returns:
        A scalar.
    """
    return _OfLogits.apply(student, targets, views, temperature)


def loss_from_prototypes(
    student: Tensor,
    prototypes: Tensor,
    targets: Tensor,
    views: int,
    temperature: float,
    chunk: int | None = None,
) -> Tensor:
    """`loss_from_logits` of `cosines(student, prototypes)`, which are never held at once.

    Under autocast, of bfloat16 too, products are taken of float16, and all sums in float32. What
    is multiplied here has bounds, so it needs no larger range, and float16 is eight times as fine.

    Args:
        student: float [V·B, d], of unit length.
        prototypes: float [D, d], of any length.
        targets: distributions y, float [2·B, D], each row summing to 1.
        views: V.
        temperature: τ.
        chunk: prototypes worked on at a time; None: CHUNK.

    Returns:
        A scalar, with gradients of student and prototypes.
    """
    chunk = chunk or CHUNK[student.device.type]
    return _OfPrototypes.apply(student, prototypes, targets, views, temperature, chunk)


def product(left: Tensor, right: Tensor, exact: torch.dtype) -> Tensor:
    """The matrix product of [N, M] and [M, P] of low precision, summed and kept in `exact`.

    The logits are cosines over a temperature of 0.04 or 0.1. Rounded to three digits, as bfloat16
    has, they would put an error of two percent into the gradients of a network that has converged.
    """
    if left.dtype == exact:
        return left @ right
    if left.device.type == "cuda":
        return torch.mm(left, right, out_dtype=exact)
    return left.to(exact) @ right.to(exact)


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Logits [R, D] of unit features [R, d]: the cosines with prototypes [D, d]."""
    return F.linear(features, F.normalize(prototypes))


class _OfLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, student: Tensor, targets: Tensor, views: int, temperature: float
    ) -> Tensor:
        crops = len(targets) // 2
        meets = targets_per_view(views)
        scale = 1 / (crops * sum(meets))
        slope = scale / temperature
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        total = student.new_zeros((), dtype=torch.promote_types(student.dtype, torch.float32))
        first, second = targets.split(crops)

        # for block of crops: for view: total -= Σ y log p, and d total / d s = (count·p - y) / τ
        size = max(1, BLOCK[student.device.type] // student.shape[1])
        for start in range(0, crops, size):
            block = slice(start, start + size)
            end = min(start + size, crops)
            both = first[block] + second[block]
            for view, count in enumerate(meets):
                target = both if view > 1 else (second, first)[view][block]
                rows = slice(view * crops + start, view * crops + end)
                log_p = (student[rows].to(total.dtype) / temperature).log_softmax(1)
                total -= torch.dot(target.flatten().to(log_p.dtype), log_p.flatten())
                if gradient is not None:
                    pushed = log_p.exp_().mul_(count * slope)
                    gradient[rows] = pushed.sub_(target, alpha=slope)
        ctx.save_for_backward(gradient)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, above: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None, None, None


class _OfPrototypes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student: Tensor,
        prototypes: Tensor,
        targets: Tensor,
        views: int,
        temperature: float,
        chunk: int,
    ) -> Tensor:
        device = student.device.type
        low = torch.float16 if torch.is_autocast_enabled(device) else student.dtype
        learns = ctx.needs_input_grad[1]
        with torch.autocast(device, enabled=False):
            total, *gradients = _loss_in_chunks(
                student, prototypes, targets, views, temperature, chunk, low, learns
            )
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, above: Tensor) -> tuple[Tensor | None, ...]:
        student, prototypes = ctx.saved_tensors
        by_prototypes = None if prototypes is None else prototypes * above
        return student * above, by_prototypes, None, None, None, None


def _loss_in_chunks(
    student: Tensor,
    prototypes: Tensor,
    targets: Tensor,
    views: int,
    temperature: float,
    chunk: int,
    low: torch.dtype,
    learns: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The loss, and its gradients by student and by prototypes (None unless it `learns`).

    With logits s = x·w, x = student / τ, w the unit prototypes, and `count` the targets that a
    row meets:

        loss       = Σ_rows count·lse(s) - Σ_rows x·(Σ of the targets y that it meets)·w
        d loss / d x = (count·softmax(s) - Σ y) w           "pushed" and "pulled"
        d loss / d w = (count·softmax(s))ᵀ x - yᵀ (Σ of the rows x that meet y)

    There are two passes over the chunks of prototypes: the first one finds lse(s), the second one
    the gradients. `low` is the precision of what is multiplied.
    """
    crops = len(targets) // 2
    exact = torch.promote_types(student.dtype, torch.float32)
    scale = 1 / (crops * sum(targets_per_view(views)))
    lowered = scale / RAISED
    # `targets_per_view` for each row; a list would be waited for on its way to a GPU.
    count = torch.full(student.shape[:1], 2.0, dtype=exact, device=student.device)
    count[: 2 * crops] = 1.0
    x = (student.to(exact) / temperature).to(low)
    chunks = [slice(start, start + chunk) for start in range(0, len(prototypes), chunk)]

    def normalize(rows: Tensor) -> tuple[Tensor, Tensor]:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
        return rows / length, length

    # 1. lse = log Σ exp(s), with the largest logit so far taken out of the exponents.
    largest = torch.full((len(student), 1), -torch.inf, dtype=exact, device=student.device)
    sums = torch.zeros_like(largest)
    for part in chunks:
        w, _ = normalize(prototypes[part])
        s = product(x, w.to(low).T, exact)
        before = largest
        largest = torch.maximum(before, s.amax(1, keepdim=True))
        rescaled = sums * (before - largest).exp()
        sums = rescaled + s.sub_(largest).exp_().sum(1, keepdim=True)
    lse = largest + sums.log()
    # exp(s - shift) is count·softmax(s), raised.
    shift = lse - (count[:, None] * RAISED).log()

    # 2. Rows x that meet each target. They are summed before the product with the targets, of which
    # there are two a crop, not V.
    by_view = x.unflatten(0, (views, crops))
    local = by_view[2:].sum(0, dtype=exact).to(low)
    meeting = torch.cat([by_view[1] + local, by_view[0] + local])

    # 3. The gradients.
    pulled = torch.zeros(2 * crops, student.shape[1], dtype=exact, device=student.device)
    pushed = torch.zeros_like(student, dtype=exact)
    by_prototypes = torch.empty_like(prototypes) if learns else None
    for part in chunks:
        w, length = normalize(prototypes[part])
        p = product(x, w.to(low).T, exact).sub_(shift).exp_().to(low)
        y = (targets[:, part] * RAISED).to(low)
        pushed += product(p, w.to(low), exact)
        pulled += product(y, w.to(low), exact)
        if learns:
            by_unit = product(p.T, x, exact) - product(y.T, meeting, exact)
            # Through the normalisation: what points along w changes nothing but its length.
            along = (by_unit * w).sum(1, keepdim=True)
            by_prototypes[part] = (by_unit - along * w) * (lowered / length)

    # 4. Back from targets to the rows that meet them.
    first, second = pulled.split(crops)
    pulled = torch.cat([second, first, *[first + second] * (views - 2)])
    total = (count * lse[:, 0]).sum() - (x.to(exact) * pulled).sum() / RAISED
    by_student = ((pushed - pulled) * (lowered / temperature)).to(student.dtype)
    return total * scale, by_student, by_prototypes
