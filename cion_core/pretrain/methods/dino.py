"""DINO (Caron et al. 2021): self-distillation in which every crop is its own identity, which is CION at K = 1."""

from __future__ import annotations

from cion_core.pretrain.methods.cion import Cion


class Dino(Cion):
    """No identities."""

    labels = "crop"

    @property
    def phases(self) -> list[tuple[float, int]]:
        return [(0.0, 1)]
