"""In which precision a network is run, and how gradients survive it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Training stops after so many steps in a row whose gradients overflow. Each halves the scale.
MOST_SKIPPED = 20


def resolve(name: str, device: torch.device) -> str:
    """The precision that `name` means on a device: one of DTYPES.

    auto: float32 on CPUs, bfloat16 on GPUs that compute in it, float16 on those that would only
    emulate it (V100, T4).
    """
    if name != "auto":
        return name
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


class Precision:
    """Autocast, and for float16 a scale of the loss that keeps small gradients from vanishing.

    Nothing here waits for the device; `may_continue` is given a number that has come from there.

    Args:
        name: "auto" or one of DTYPES, see `resolve`.
        device: where the network is.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = resolve(name, device)
        self.device = device
        self.skipped = 0
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "float16")

    def autocast(self) -> torch.autocast:
        """The context for forward passes."""
        return torch.autocast(self.device.type, DTYPES[self.name], enabled=self.name != "float32")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scaled loss to what is there."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, bound: float) -> Tensor:
        """Take the scale off the gradients, then bound the norm of each parameter's own.

        Args:
            optimizer: of the parameters.
            bound: the most that a norm may be; 0: none.

        Returns:
            The largest norm before that, a scalar on the device; NaN or infinite if any gradient
            is.
        """
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients))
        if bound:
            factors = (bound / (norms + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
            torch._foreach_mul_(gradients, factors.unbind())
        return norms.max()  # which keeps NaN

    def step(self, optimizer: torch.optim.Optimizer, largest: Tensor) -> None:
        """Step, unless the gradients are not finite.

        A fused optimiser lets the device find that out for itself; for another one the device is
        waited for.

        Args:
            optimizer: any of torch's.
            largest: what `clip` has returned.
        """
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        elif optimizer.defaults.get("fused"):
            optimizer.grad_scale, optimizer.found_inf = None, (~largest.isfinite()).float()
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf
        elif largest.isfinite():
            optimizer.step()

    def may_continue(self, largest: float) -> bool:
        """Whether training may go on after a step; asked once a step.

        Where the loss is scaled, gradients that overflow only lower the scale, up to MOST_SKIPPED
        times in a row.

        Args:
            largest: the number that the step's `clip` has returned.
        """
        finite = math.isfinite(largest)
        self.skipped = 0 if finite else self.skipped + 1
        return finite or (self.scaler.is_enabled() and self.skipped < MOST_SKIPPED)

    def state_dict(self) -> dict:
        """The loss's scale; empty where there is none."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on with a checkpoint's scale, or a fresh one where the checkpoint has none."""
        if state:
            self.scaler.load_state_dict(state)
