"""CION: identity-guided self-distillation over the identities that were linked across videos."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from cion_core.pretrain.heads import DinoHead
from cion_core.pretrain.losses import IdentityGuidedLoss
from cion_core.pretrain.methods.base import (
    LAST_LR,
    TeacherRates,
    Trained,
    momentum_update,
    parameter_groups,
)
from cion_core.pretrain.settings import Guided, Pretrain
from cion_core.pretrain.views import ViewKind, multi_crop
from cion_core.registry import Style
from cion_core.training.schedules import cosine, warmup_cosine


class Cion(Trained):
    """A student sees all views, its moving average (the teacher) the global ones.

    The teacher is what is kept.
    """

    about = "CION’s loss on identities linked across videos (① ② ③)"
    style = Style("#2f7fe0")
    published_lr = (0.0005, 256)
    labels = "cross_video"
    Settings = Guided

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        head = DinoHead(backbone.num_features, **p.head.model_dump())
        self.student = nn.ModuleDict({"backbone": backbone, "head": head})
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.loss = IdentityGuidedLoss(
            p.head.out_dim,
            2 + p.local_views,
            p.temperature.student,
            p.temperature.teacher,
            p.momentum.center,
        )

    @property
    def phases(self) -> list[tuple[float, int]]:
        return list(self.settings.instances)

    @property
    def clip(self) -> float:
        return self.p.clip

    @property
    def chance(self) -> float:
        return math.log(self.p.head.out_dim)

    @property
    def kept_network(self) -> nn.Module:
        return self.teacher["backbone"]

    def loss_bytes(self, crops: float) -> float:
        # The teacher's logits of two views, and their targets, 4 bytes each.
        return 8 * crops * self.p.head.out_dim * 2

    def networks(self) -> list[nn.Module]:
        return [self.student["backbone"], self.teacher["backbone"]]

    def view_kinds(self) -> list[ViewKind]:
        return multi_crop(self.p.image, self.p.local_image, self.p.local_views, self.p.views)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameter_groups(self.student), lr=self.settings.lr, fused=True)

    def rates(self, step: int, steps: int) -> TeacherRates:
        return TeacherRates(
            lr=warmup_cosine(self.settings.lr, LAST_LR, step, steps, self.p.warmup),
            weight_decay=cosine(*self.p.weight_decay, step, steps),
            momentum=cosine(self.p.momentum.teacher, 1.0, step, steps),
        )

    def frozen(self, step: int, steps: int) -> list[nn.Parameter]:
        return [self.student["head"].prototypes] if step < self.p.freeze_last * steps else []

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        global_views = views[:2]
        local_views = views[2:]
        student_head = self.student["head"]
        teacher_head = self.teacher["head"]

        # The student sees all views, those of one size together; the teacher the global ones.
        sizes = [global_views, local_views] if local_views else [global_views]
        features = torch.cat([self.student["backbone"](torch.cat(same)) for same in sizes])
        with torch.no_grad():
            teacher_features = self.teacher["backbone"](torch.cat(global_views))
            teacher = teacher_head.bottleneck(teacher_features)
        student = student_head.bottleneck(features)

        loss = self.loss.loss_from_heads(
            student, student_head.prototypes, teacher, teacher_head.prototypes, instances
        )
        return loss, {
            "teacher_entropy": self.loss.entropy,
            "teacher_from_uniform": self.chance - self.loss.entropy,  # Kullback-Leibler divergence
            "center_norm": self.loss.center.norm(),
        }

    def after(self, rates: TeacherRates) -> None:
        self.loss.move_center()
        momentum_update(self.teacher, self.student, rates.momentum)
