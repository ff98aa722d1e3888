"""In which precision a network is run, and how gradients survive it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SKIPPED = 20  # steps in a row whose gradients overflow: a scale that is too large is halved at each


class Precision:
    """Autocast, and for float16 a scale of the loss that keeps small gradients from vanishing.

    `name`: auto (bfloat16 on GPUs that have it, float16 on others, float32 on CPUs) or one of DTYPES.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "auto":
            half = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float16"
            name = half if device.type == "cuda" else "float32"
        self.name, self.device, self.skipped = name, device, 0
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> torch.autocast:
        """The context for forward passes."""
        return torch.autocast(self.device.type, DTYPES[self.name], enabled=self.name != "float32")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scaled loss to what is there."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, bound: float) -> float:
        """Take the scale off the gradients, then scale each parameter's own down to norm `bound` (0: leave it).

        Returns the largest norm before that; NaN or infinite if any gradient is.
        """
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = [torch.nn.utils.clip_grad_norm_(p, bound or math.inf) for p in parameters]
        return torch.stack(norms).max().item()  # max keeps NaN

    def step(self, optimizer: torch.optim.Optimizer, largest: float) -> bool:
        """Step, unless the gradients are not finite; whether training may go on.

        Where the loss is scaled, gradients that overflow only lower the scale, up to SKIPPED times in a row.
        """
        fine = math.isfinite(largest)
        self.skipped = 0 if fine else self.skipped + 1
        if not self.scaler.is_enabled() and not fine:
            return False
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.skipped < SKIPPED
