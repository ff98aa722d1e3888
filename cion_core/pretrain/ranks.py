"""The processes of one training run: torchrun starts several, and each takes its share of every batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


@torch.no_grad()
def mean(values: Tensor) -> Tensor:
    """The mean of `values` over all processes, the same shape and bits in each; `values` itself where there is one."""
    if size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / size()


@torch.no_grad()
def gather(values: Tensor) -> Tensor:
    """`values` [B, ...] of all processes, one after another: [size·B, ...]; B must be the same in each."""
    if size() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)
