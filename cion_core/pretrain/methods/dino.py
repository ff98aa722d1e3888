"""DINO (Caron et al. 2021): every crop is its own identity, which is CION at K = 1."""

from __future__ import annotations

from cion_core.config import Positive, Section
from cion_core.pretrain.methods.cion import Cion
from cion_core.registry import Style


class Dino(Cion):
    """No identities."""

    about = "Self-distillation, every crop its own identity (K = 1)"
    style = Style("#9b62d4", (0, (4, 1.5)))
    labels = "crop"

    class Settings(Section):
        """lr: at the end of the warm-up."""

        lr: Positive

    @property
    def phases(self) -> list[tuple[float, int]]:
        return [(0.0, 1)]
