"""The loss as published, loop by loop: what the benches compare with. Needs no more than torch."""

from __future__ import annotations

from torch import Tensor

from cion_core.pretrain.losses import IdentityGuidedLoss


def literal(student: Tensor, teacher: Tensor, loss: IdentityGuidedLoss, instances: int) -> Tensor:
    """docs/architecture.md, loop by loop."""
    targets = ((teacher - loss.center) / loss.teacher_temp).softmax(-1).detach().chunk(2)
    total, pairs = 0, 0
    for q, target in enumerate(targets):
        t = target.unflatten(0, (-1, instances))
        for v, logits in enumerate((student / loss.student_temp).chunk(loss.views)):
            if v == q:
                continue
            value = -(target * logits.log_softmax(-1)).sum(-1).mean()
            s = logits.unflatten(0, (-1, instances))
            for i in range(instances):
                for j in range(instances):
                    if i != j:
                        value = value - (t[:, i] * s[:, j].log_softmax(-1)).sum(-1).mean()
            total, pairs = total + value / (instances * (instances - 1) + 1), pairs + 1
    return total / pairs
