"""Cross-entropies of all student views with their targets, whose gradients are made in the forward
pass.

Autograd would keep several copies of the student's logits [V·B, D], of which one alone is 315 MB at
B = 120, V = 10, D = 65,536. `of_logits` is given them and keeps only their gradient;
`of_prototypes` takes the last layer into itself, and never holds more than `CHUNK` columns of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

BLOCK = {
    "cpu": 1 << 18,
    "cuda": 1 << 28,
}  # logits worked on at a time: on a CPU, what stays in its cache
CHUNK = {
    "cpu": 4096,
    "cuda": 16384,
}  # prototypes worked on at a time: on a GPU few kernels, of 80 MB for 1,200 rows
# what probabilities are multiplied by: float16 holds less than all digits of those below 6e-5
RAISED = 4096.0

# Of B crops each, view by view: student [V·B, ...] and targets y [2·B, D], one for each teacher
# view. Student view 0 meets the target of teacher view 1, view 1 that of 0, and all others both
# (docs/architecture.md); `meets` counts them.


def meets(views: int) -> list[int]:
    """How many targets each student view has."""
    return [1, 1, *[2] * (views - 2)]


def of_logits(student: Tensor, targets: Tensor, views: int, temperature: float) -> Tensor:
    """The mean cross-entropy -Σ y log softmax(s / τ), a scalar, over all pairs of views that meet.

    student [V·B, D], the gradient's only receiver; targets [2·B, D], each row summing to 1.
    """
    return _OfLogits.apply(student, targets, views, temperature)


def of_prototypes(
    student: Tensor,
    prototypes: Tensor,
    targets: Tensor,
    views: int,
    temperature: float,
    chunk: int | None = None,
) -> Tensor:
    """`of_logits` of the student's logits `cosines(student, prototypes)`, for student [V·B, d] of
    unit length.

    prototypes [D, d] of any length. Under autocast, be it of bfloat16, products are taken of
    float16, and all sums in float32: what is multiplied here has bounds, so it needs no larger
    range, and float16 is eight times as fine.
    """
    chunk = chunk or CHUNK[student.device.type]
    return _OfPrototypes.apply(student, prototypes, targets, views, temperature, chunk)


def product(a: Tensor, b: Tensor, exact: torch.dtype) -> Tensor:
    """The matrix product of a [N, M] and b [M, P] of low precision, summed and kept in `exact`.

    The logits are cosines over a temperature of 0.04 or 0.1. Rounded to three digits, as bfloat16
    has, they would put an error of two percent into the gradients of a network that has converged.
    """
    if a.dtype == exact:
        return a @ b
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=exact)
    return a.to(exact) @ b.to(exact)


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Logits [R, D] of unit features [R, d]: the cosines with prototypes [D, d]."""
    return F.linear(features, F.normalize(prototypes))


class _OfLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, student: Tensor, targets: Tensor, views: int, temperature: float
    ) -> Tensor:
        crops = len(targets) // 2
        scale = 1 / (crops * sum(meets(views)))
        by = scale / temperature
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        total = student.new_zeros((), dtype=torch.promote_types(student.dtype, torch.float32))
        first, second = targets.split(crops)
        size = max(1, BLOCK[student.device.type] // student.shape[1])
        for start in range(0, crops, size):
            part = slice(start, start + size)
            both = first[part] + second[part]
            for view, count in enumerate(meets(views)):
                y = both if view > 1 else (second, first)[view][part]
                rows = slice(view * crops + start, view * crops + min(start + size, crops))
                p = (student[rows].to(total.dtype) / temperature).log_softmax(1)
                total -= torch.dot(y.flatten().to(p.dtype), p.flatten())
                if gradient is not None:
                    gradient[rows] = p.exp_().mul_(count * by).sub_(y, alpha=by)
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
        kind = student.device.type
        low = torch.float16 if torch.is_autocast_enabled(kind) else student.dtype
        with torch.autocast(kind, enabled=False):
            total, *gradients = _chunked(
                student,
                prototypes,
                targets,
                views,
                temperature,
                chunk,
                low,
                ctx.needs_input_grad[1],
            )
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, above: Tensor) -> tuple[Tensor | None, ...]:
        student, prototypes = ctx.saved_tensors
        return (
            student * above,
            None if prototypes is None else prototypes * above,
            None,
            None,
            None,
            None,
        )


def _chunked(
    student: Tensor, prototypes: Tensor, targets: Tensor, views: int, temperature: float, chunk: int,
    low: torch.dtype, learns: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """The loss, and its gradients by student and by prototypes (None unless it `learns`)."""
    crops = len(targets) // 2
    exact = torch.promote_types(student.dtype, torch.float32)
    # `meets` for each row; a list would be waited for on its way to a GPU
    count = torch.full(student.shape[:1], 2.0, dtype=exact, device=student.device)
    count[: 2 * crops] = 1.0
    x = (student.to(exact) / temperature).to(low)
    chunks = [slice(start, start + chunk) for start in range(0, len(prototypes), chunk)]

    def unit(part: slice) -> tuple[Tensor, Tensor]:
        length = torch.linalg.vector_norm(prototypes[part], dim=1, keepdim=True).clamp_min(1e-12)
        return prototypes[part] / length, length

    largest = torch.full((len(student), 1), -torch.inf, dtype=exact, device=student.device)
    sums = torch.zeros_like(largest)
    for part in chunks:
        s = product(x, unit(part)[0].to(low).T, exact)
        before, largest = largest, torch.maximum(largest, s.amax(1, keepdim=True))
        sums = sums * (before - largest).exp() + s.sub_(largest).exp_().sum(1, keepdim=True)
    lse = largest + sums.log()
    # exp(s - shift) is softmax times how many targets a row meets, raised
    shift = lse - (count[:, None] * RAISED).log()

    # What views 0 and 1 and all local ones together contribute beside the softmax is a sum over
    # targets, of which there are two a crop, not V.
    by_view = x.unflatten(0, (views, crops))
    local = by_view[2:].sum(0, dtype=exact).to(low)
    meeting = torch.cat([by_view[1] + local, by_view[0] + local])  # of targets 0 and 1
    pulled = torch.zeros(2 * crops, student.shape[1], dtype=exact, device=student.device)  # y @ w
    pushed = torch.zeros_like(student, dtype=exact)  # softmax @ w
    scale = 1 / (crops * sum(meets(views)))
    lowered = scale / RAISED
    gradient = torch.empty_like(prototypes) if learns else None
    for part in chunks:
        w, length = unit(part)
        p = product(x, w.to(low).T, exact).sub_(shift).exp_().to(low)
        y = (targets[:, part] * RAISED).to(low)
        pushed += product(p, w.to(low), exact)
        pulled += product(y, w.to(low), exact)
        if learns:
            g = product(p.T, x, exact) - product(y.T, meeting, exact)
            gradient[part] = (g - (g * w).sum(1, keepdim=True) * w) * (lowered / length)
    first, second = pulled.split(crops)
    pulled = torch.cat([second, first, *[first + second] * (views - 2)])
    total = (count * lse[:, 0]).sum() - (x.to(exact) * pulled).sum() / RAISED
    return total * scale, ((pushed - pulled) * (lowered / temperature)).to(student.dtype), gradient
