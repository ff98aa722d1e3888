"""No pre-training: the starting weights of all other methods, to measure them against."""

from __future__ import annotations

from cion_core.pretrain.methods.base import Untrained
from cion_core.registry import Style


class Random(Untrained):
    """The backbone as it was initialised."""

    about = "Starting weights, never pre-trained"
    style = Style("#a07a4f", (0, (1, 1.5)))
