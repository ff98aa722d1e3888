"""Optimisers that step in few kernels, and that leave a step out without being waited for."""

from __future__ import annotations

import torch


def sgd(groups: list[dict], lr: float, momentum: float) -> torch.optim.SGD:
    """Fused SGD with its momentum at zero.

    torch would make the momentum at the first step, and where that step is left out, as gradients
    overflow, it would keep memory that nobody has written to.

    Args:
        groups: as `Learner.optimizer` describes them.
        lr: of the first step.
        momentum: of the moving sum of gradients.
    """
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@torch.no_grad()
def keep_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay out in memory what the optimiser keeps of a parameter as the parameter is.

    Fused steps ask for that, and a checkpoint may be of another device, with another layout.
    """
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
