"""Identity-guided self-distillation (CION, NeurIPS 2024) as one pass over the logits.

The published loss pairs every two instances of an identity, for every pair of a teacher view q and
a student view v (docs/architecture.md). CE is cross-entropy, t are the teacher's distributions, s
the student's logits, B crops are G identities of K instances:

    for teacher view q of 2:
        for student view v of V, v != q:
            for crop b of B:
                loss += CE(t[q, b], s[v, b]) / B
            for identity g of G:
                for instances i != j of K:
                    loss += CE(t[q, g, i], s[v, g, j]) / G
    loss /= pairs of views * (K(K-1) + 1)

Cross-entropy is linear in its target, and every t sums to 1. So all targets that meet one row of
student logits add up to a single distribution y, and the K² pairs to one cross-entropy with it:

    y[q, g, j] = ( t[q, g, j] + K Σ_{i≠j} t[q, g, i] ) / (K(K-1) + 1)
    loss       = mean over (q, v) of mean over b of CE(y[q, b], s[v, b])

K = 1 leaves y = t, which is DINO. The sum over views is left to `fused`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cion_core.pretrain import fused
from cion_core.training import ranks


def mix_targets(probabilities: Tensor, instances: int) -> Tensor:
    """The target y of each crop from the teacher's distributions t of all crops of its identity.

    Example: of K = 2 crops, y₁ = (t₁ + 2 t₂) / 3 and y₂ = (t₂ + 2 t₁) / 3.

    Args:
        probabilities: t, float [..., B, D], B ordered identity by identity.
        instances: K.

    Returns:
        y, of the same shape, every row summing to 1.
    """
    if instances == 1:
        return probabilities
    by_identity = probabilities.unflatten(-2, (-1, instances))
    share = 1 / (instances * (instances - 1) + 1)
    # The sum over i ≠ j is the sum over all, less the crop's own: K Σ_i t_i + (1 - K) t_j.
    of_all = by_identity.sum(-2, keepdim=True) * (instances * share)
    mixed = torch.add(of_all, by_identity, alpha=(1 - instances) * share)
    return mixed.flatten(-3, -2)


class IdentityGuidedLoss(nn.Module):
    """The loss, with the teacher's centre as its state.

    The centre follows the mean teacher logits, as in DINO (Caron et al. 2021, equation 4), in
    training mode alone. It moves after each call of the loss itself; for `loss_from_heads` it moves
    when `move_center` is called, as a step may be made of several calls.

    Args:
        out_dim: D, prototypes of a head.
        views: V, student views of a crop, the two global ones first.
        student_temp, teacher_temp: of the two softmaxes.
        center_momentum: what the centre keeps of itself when it moves.

    Attributes:
        center: float [D].
        entropy: of the teacher's outputs in the last call, a mean in nats. Near 0 or log(D) it
            means collapse.

    Example:
        >>> loss = IdentityGuidedLoss(out_dim=16, views=3)
        >>> student, teacher = torch.randn(3 * 8, 16), torch.randn(2 * 8, 16)
        >>> loss(student, teacher, instances=4).shape  # 2 identities of 4 crops
        torch.Size([])
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
        self.register_buffer("entropy", torch.zeros(()), persistent=False)
        self._seen: list[Tensor] = []  # mean teacher logits of the calls since the centre moved

    def forward(self, student: Tensor, teacher: Tensor, instances: int) -> Tensor:
        """The loss of logits. Within a view the crops are ordered identity by identity.

        Args:
            student: float [V·B, D], view by view.
            teacher: float [2·B, D], view by view; it gets no gradient.
            instances: K, crops of each identity.

        Returns:
            A scalar.

        Raises:
            ValueError: the shapes do not fit one another.
        """
        self._check(student, teacher, instances)
        targets = self._targets(teacher, instances)
        loss = fused.loss_from_logits(student, targets, self.views, self.student_temp)
        if self.training:
            self._seen.append(teacher.detach().mean(0))
            self.move_center()
        return loss

    def loss_from_heads(
        self,
        student: Tensor,
        prototypes: Tensor,
        teacher: Tensor,
        teacher_prototypes: Tensor,
        instances: int,
    ) -> Tensor:
        """The same loss from what the heads' last layers are given.

        Logits are `fused.cosines`; those of the student are never held at once. The centre waits
        for `move_center`.

        Args:
            student: float [V·B, d], of unit length.
            prototypes: the student's, float [D, d].
            teacher: float [2·B, d], of unit length.
            teacher_prototypes: float [D, d].
            instances: K, crops of each identity.

        Returns:
            A scalar.

        Raises:
            ValueError: the shapes do not fit one another.
        """
        self._check(student, teacher, instances)
        with torch.no_grad(), torch.autocast(teacher.device.type, enabled=False):
            # In float32: the product is small, and the softmax is sharp.
            exact = torch.promote_types(teacher.dtype, torch.float32)
            logits = fused.cosines(teacher.to(exact), teacher_prototypes)
            if self.training:
                self._seen.append(logits.mean(0))
        targets = self._targets(logits, instances)
        del logits
        return fused.loss_from_prototypes(
            student, prototypes, targets, self.views, self.student_temp
        )

    @torch.no_grad()
    def move_center(self) -> None:
        """Move the centre towards the mean teacher logits since it last moved.

        They are those of all calls, over all processes.
        """
        if self._seen:
            mean = ranks.mean(torch.stack(self._seen).mean(0))
            self.center.lerp_(mean.to(self.center.dtype), 1 - self.center_momentum)
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
        """softmax((teacher - centre) / τ_t) of logits [2·B, D], mixed over each identity.

        Their mean entropy, before they are mixed, is kept in `entropy`.
        """
        # A softmax in place, as the logits are many.
        t = (teacher - self.center).div_(self.teacher_temp)
        t.sub_(t.amax(1, keepdim=True)).exp_()
        t.div_(t.sum(1, keepdim=True))

        size = max(1, fused.BLOCK[t.device.type] // t.shape[1])
        entropies = [torch.special.entr(rows).sum() for rows in t.split(size)]
        self.entropy = torch.stack(entropies).sum() / len(t)
        return mix_targets(t, instances)


def info_nce(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, alike: Tensor | None = None
) -> Tensor:
    """MoCo's contrastive loss (He et al. 2020, equation 1).

    With several positives of a query it is the mean over them (Khosla et al. 2020, equation 2):

        for query b of B:
            for positive p of b:
                loss -= log( exp(p / τ) / Σ exp(all cosines of b / τ) ) / positives of b
        loss /= B

    Args:
        query: float [B, D], of unit length, as all features here.
        key: float [B, D], the positive of each query.
        queue: float [Q, D], the negatives.
        temperature: τ.
        alike: bool [B, Q], which of the queue are positives as well; None: none.

    Returns:
        A scalar.
    """
    own_key = (query * key).sum(1, keepdim=True)
    logits = torch.cat([own_key, exact_cosines(query, queue)], 1) / temperature
    positive = logits[:, 0]
    if alike is not None:
        of_queue = (logits[:, 1:] * alike).sum(1)
        positive = (positive + of_queue) / (1 + alike.sum(1))
    return (logits.logsumexp(1) - positive).mean()


def exact_cosines(features: Tensor, others: Tensor) -> Tensor:
    """The cosines [B, N] of unit features [B, D] and [N, D], in float32 under autocast as well.

    They are divided by a temperature of 0.1 or less. That would make the error of lower precision
    ten times as large. Features are so short that the product costs little.
    """
    with torch.autocast(features.device.type, enabled=False):
        exact = torch.promote_types(features.dtype, torch.float32)
        return features.to(exact) @ others.to(exact).T
