"""No pre-training: the starting weights of all other methods, to measure them against."""

from __future__ import annotations

from torch import nn

from cion_core.pretrain.methods.base import Method
from cion_core.pretrain.settings import Pretrain
from cion_core.registry import Style


class Random(Method):
    """The backbone as it was initialised."""

    about = "Starting weights, never pre-trained"
    style = Style("#a07a4f", (0, (1, 1.5)))

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.backbone = backbone

    @property
    def exported(self) -> nn.Module:
        return self.backbone
