"""Where models run."""

from __future__ import annotations

import torch

from cion_core.errors import CionError


def pick(device: str) -> torch.device:
    """Pick the device to run on.

    Args:
        device: as in `Runtime`: auto (the first GPU, else the CPU), cpu, or cuda.

    Raises:
        CionError: cuda was asked for, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise CionError("device: cuda was asked for, but torch sees no GPU; valid here: auto, cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
