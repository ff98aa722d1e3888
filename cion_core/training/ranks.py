"""The processes of one training run: torchrun starts several, and each takes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from cion_core.zoo.device import pick

T = TypeVar("T")


@contextmanager
def together(device: str) -> Iterator[torch.device]:
    """This process's device ("auto", "cpu", "cuda"), joined with those that torchrun has started beside it.

    NCCL between GPUs, one each; gloo between CPUs.
    """
    chosen = pick(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


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


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return gather(values)

    @staticmethod
    def backward(ctx: FunctionCtx, above: Tensor) -> Tensor:
        total = above.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(size())[rank()]


def joined(values: Tensor) -> Tensor:
    """`gather`, through which gradients go back: the gradient of `values` is that of all processes' losses summed.

    Where each process takes the mean loss of the whole joined batch, the mean of their gradients, which training
    takes, is thus the gradient of that loss.
    """
    return values if size() == 1 else _Joined.apply(values)


def either(flag: bool, device: torch.device) -> bool:
    """Whether any process says so."""
    if size() == 1:
        return flag
    said = torch.tensor(float(flag), device=device)
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


def wait() -> None:
    """Until every process has come here."""
    if size() > 1:
        dist.barrier()


def listed(value: T) -> list[T]:
    """What each process has, by rank."""
    if size() == 1:
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def first(make: Callable[[], T]) -> T:
    """What the first process makes, for all."""
    if size() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box)
    return box[0]
