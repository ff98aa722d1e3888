"""Identity-guided self-distillation (CION, NeurIPS 2024) as one pass over the logits.

The published loss pairs every two instances of an identity, for every pair of a teacher view q and a student view
v ≠ q (DESIGN §5):

    mean over (q, v) of [ mean_b CE(t_qb, s_vb) + Σ_{i≠j} mean_g CE(t_qgi, s_vgj) ] / (K(K-1) + 1)

Cross-entropy is linear in its target and every t sums to 1, so all targets that meet one row of student logits add
up to a single distribution, and the K² pairs to one cross-entropy with it:

    mean over (q, v) of mean_b CE(y_qb, s_vb),   y_qgj = [ t_qgj + K Σ_{i≠j} t_qgi ] / (K(K-1) + 1)

K = 1 leaves y = t, which is DINO.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix(probabilities: Tensor, instances: int) -> Tensor:
    """The target y of each crop from the teacher's distributions t of all crops of its identity.

    `probabilities` [..., B, D], B ordered identity by identity; same shape out, every row summing to 1.
    """
    if instances == 1:
        return probabilities
    t = probabilities.unflatten(-2, (-1, instances))
    y = instances * t.sum(-2, keepdim=True) + (1 - instances) * t
    return y.flatten(-3, -2) / (instances * (instances - 1) + 1)


class IdentityGuidedLoss(nn.Module):
    """The loss, with the teacher's centre as its state.

    `views`: student views of a crop, the two global ones first. In training mode each call, once it has used the
    centre, moves it towards the mean teacher logits, as DINO does (Caron et al. 2021, equation 4).
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

    def forward(self, student: Tensor, teacher: Tensor, instances: int) -> Tensor:
        """Scalar loss of student logits [V·B, D] and teacher logits [2·B, D], both view by view.

        Within a view the B crops are ordered identity by identity, `instances` (K) of each. The teacher gets no
        gradient. ValueError where the shapes do not fit.
        """
        crops, rest = divmod(len(student), self.views)
        if rest or len(teacher) != 2 * crops or crops % instances:
            raise ValueError(
                f"{len(student)} student and {len(teacher)} teacher rows do not fit {self.views} views, "
                f"2 teacher views and identities of {instances} crops"
            )
        first, second = mix(self.targets(teacher), instances).unflatten(0, (2, crops))
        s = (student / self.student_temp).unflatten(0, (self.views, crops))
        # A student view meets the teacher views other than itself: one for each global view, both for a local one.
        loss = s[:2].logsumexp(-1).sum() - (s[0] * second).sum() - (s[1] * first).sum()
        if self.views > 2:
            loss = loss + 2 * s[2:].logsumexp(-1).sum() - (s[2:] * (first + second)).sum()
        return loss / (crops * 2 * (self.views - 1))

    @torch.no_grad()
    def targets(self, teacher: Tensor) -> Tensor:
        """softmax((u - centre) / τ_t) of teacher logits u [R, D]; moves the centre in training mode."""
        t = ((teacher - self.center) / self.teacher_temp).softmax(-1)
        self.entropy = torch.special.entr(t).sum(-1).mean()
        if self.training:
            self.center.lerp_(teacher.mean(0).to(self.center.dtype), 1 - self.center_momentum)
        return t


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo's contrastive loss (He et al. 2020, equation 1), a scalar.

    `query` and `key` [B, D] (the positives), `queue` [Q, D] (the negatives); all L2-normalised.
    """
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ queue.T], 1) / temperature
    return nn.functional.cross_entropy(logits, logits.new_zeros(len(query), dtype=torch.long))
