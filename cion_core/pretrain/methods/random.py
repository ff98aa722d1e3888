"""No pre-training: the starting weights of all other methods, to measure them against."""

from __future__ import annotations

from torch import nn

from cion_core.params import Pretrain
from cion_core.pretrain.methods.base import Method


class Random(Method):
    """The backbone as it was initialised."""

    trains = False

    def __init__(self, p: Pretrain, name: str, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, name, backbone, identities)
        self.backbone = backbone

    @property
    def exported(self) -> nn.Module:
        return self.backbone
