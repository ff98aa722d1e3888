"""Identity-guided self-distillation (CION, NeurIPS 2024) as one pass over the logits.

The published loss pairs every two instances of an identity, for every pair of a teacher view q and
a student view v ≠ q (docs/architecture.md):

    mean over (q, v) of [ mean_b CE(t_qb, s_vb) + Σ_{i≠j} mean_g CE(t_qgi, s_vgj) ] / (K(K-1) + 1)

Cross-entropy is linear in its target and every t sums to 1, so all targets that meet one row of
student logits add up to a single distribution, and the K² pairs to one cross-entropy with it:

    mean over (q, v) of mean_b CE(y_qb, s_vb),   y_qgj = [ t_qgj + K Σ_{i≠j} t_qgi ] / (K(K-1) + 1)

K = 1 leaves y = t, which is DINO. What the sum over views costs and holds is left to `fused`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cion_core.pretrain import fused
from cion_core.training import ranks


def mix(probabilities: Tensor, instances: int) -> Tensor:
    """The target y of each crop from the teacher's distributions t of all crops of its identity.

    `probabilities` [..., B, D], B ordered identity by identity; same shape out, every row summing
    to 1.
    """
    if instances == 1:
        return probabilities
    t = probabilities.unflatten(-2, (-1, instances))
    share = 1 / (instances * (instances - 1) + 1)
    return torch.add(
        t.sum(-2, keepdim=True) * (instances * share), t, alpha=(1 - instances) * share
    ).flatten(-3, -2)


class IdentityGuidedLoss(nn.Module):
    """The loss, with the teacher's centre as its state.

    `views`: student views of a crop, the two global ones first. The centre follows the mean teacher
    logits, as in DINO (Caron et al. 2021, equation 4), in training mode alone: after each call, or,
    for `of_heads`, when `move_center` is called, as a step may be made of several calls.
    """

    center: Tensor
    entropy: Tensor

    def __init__(
        self,
        out_dim: int,
        views: int,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.views = views
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(out_dim))
        # nats, of the teacher's outputs in the last call: near 0 or log(out_dim) means collapse
        self.register_buffer("entropy", torch.zeros(()), persistent=False)
        self._seen: list[Tensor] = []  # mean teacher logits of the calls since the centre moved

    def forward(self, student: Tensor, teacher: Tensor, instances: int) -> Tensor:
        """Scalar loss of student logits [V·B, D] and teacher logits [2·B, D], both view by view.

        Within a view the B crops are ordered identity by identity, `instances` (K) of each. The
        teacher gets no gradient. ValueError where the shapes do not fit.
        """
        self._check(student, teacher, instances)
        loss = fused.of_logits(
            student, self._targets(teacher, instances), self.views, self.student_temp
        )
        if self.training:
            self._seen.append(teacher.detach().mean(0))
            self.move_center()
        return loss

    def of_heads(
        self,
        student: Tensor,
        prototypes: Tensor,
        teacher: Tensor,
        teacher_prototypes: Tensor,
        instances: int,
    ) -> Tensor:
        """The same from what the last layers are given: unit bottlenecks [V·B, d] and [2·B, d],
        prototypes [D, d].

        Logits are `fused.cosines`; those of the student are never held at once. The centre waits
        for `move_center`.
        """
        self._check(student, teacher, instances)
        with torch.no_grad(), torch.autocast(teacher.device.type, enabled=False):
            exact = torch.promote_types(teacher.dtype, torch.float32)
            logits = fused.cosines(
                teacher.to(exact), teacher_prototypes
            )  # a small product, and a sharp softmax
            if self.training:
                self._seen.append(logits.mean(0))
        targets = self._targets(logits, instances)
        del logits
        return fused.of_prototypes(student, prototypes, targets, self.views, self.student_temp)

    @torch.no_grad()
    def move_center(self) -> None:
        """Move the centre towards the mean teacher logits of the calls since it last moved, over
        all processes.
        """
        if self._seen:
            mean = ranks.mean(torch.stack(self._seen).mean(0)).to(self.center.dtype)
            self.center.lerp_(mean, 1 - self.center_momentum)
        self._seen.clear()

    def _check(self, student: Tensor, teacher: Tensor, instances: int) -> None:
        crops, rest = divmod(len(student), self.views)
        if rest or len(teacher) != 2 * crops or crops % instances:
            raise ValueError(
                f"{len(student)} student and {len(teacher)} teacher rows do not fit {self.views} "
                f"views, 2 teacher views and identities of {instances} crops"
            )

    @torch.no_grad()
    def _targets(self, teacher: Tensor, instances: int) -> Tensor:
        """What teacher logits u [2·B, D] ask for: softmax((u - centre) / τ_t), mixed over each
        identity.
        """
        t = (teacher - self.center).div_(self.teacher_temp)
        t.sub_(t.amax(1, keepdim=True)).exp_()
        t.div_(t.sum(1, keepdim=True))
        size = max(1, fused.BLOCK[t.device.type] // t.shape[1])
        self.entropy = torch.stack(
            [torch.special.entr(rows).sum() for rows in t.split(size)]
        ).sum() / len(t)
        return mix(t, instances)


def info_nce(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, alike: Tensor | None = None
) -> Tensor:
    """MoCo's contrastive loss (He et al. 2020, equation 1), or with several positives of a query
    the mean over them.

    Args:
        query: [B, D], of unit length, as all of these.
        key: [B, D], the positives.
        queue: [Q, D], the negatives.
        temperature: that cosines are divided by.
        alike: bool [B, Q], which of the queue are positives as well (Khosla et al. 2020, equation
            2); None: none.

    Returns:
        A scalar.
    """
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, exact_cosines(query, queue)], 1) / temperature
    wanted = logits[:, 0]
    if alike is not None:
        also = (logits[:, 1:] * alike).sum(1)
        wanted = (wanted + also) / (1 + alike.sum(1))
    return (logits.logsumexp(1) - wanted).mean()


def exact_cosines(features: Tensor, others: Tensor) -> Tensor:
    """The cosines [B, N] of unit features [B, D] and [N, D], in float32 under autocast as well.

    They are divided by a temperature of 0.1 or less, which would make the error of lower precision
    ten times as large; and features are so short that the product costs little.
    """
    with torch.autocast(features.device.type, enabled=False):
        exact = torch.promote_types(features.dtype, torch.float32)
        return features.to(exact) @ others.to(exact).T
