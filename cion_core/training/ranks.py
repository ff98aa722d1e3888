"""The processes of one training run: torchrun starts several, and each takes its share of every
batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from cion_core.errors import CionError
from cion_core.zoo.device import pick

T = TypeVar("T")


@contextmanager
def together(device: str, backend: str = "auto") -> Iterator[torch.device]:
    """This process's device, joined with the processes that torchrun has started beside it, be it
    none.

    What is on a GPU goes through NCCL, what is on the CPU through gloo: so processes can agree on
    something without waiting for their GPUs. At the end each waits for all, as the first one has
    files to write.

    Args:
        device: "auto", "cpu" or "cuda".
        backend: "auto", or "gloo" for everything, which also lets several processes share one GPU.

    Yields:
        The device of this process.

    Raises:
        CionError: there are more processes than GPUs, and they are to talk through NCCL.
    """
    chosen = pick(device)
    if "WORLD_SIZE" not in os.environ:  # not started by torchrun
        yield chosen
        return
    chosen, spoken = share(
        chosen, backend, int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    )
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        # NCCL is told the device, or it guesses from the rank which one to wait on
        dist.init_process_group(spoken, device_id=chosen if "nccl" in spoken else None)
    else:
        dist.init_process_group(spoken)
    try:
        yield chosen
        wait()
    finally:
        dist.destroy_process_group()


def share(chosen: torch.device, backend: str, local: int, devices: int) -> tuple[torch.device, str]:
    """Which device the process number `local` of this machine takes, and how processes talk.

    Args:
        chosen: what kind of device they run on.
        backend: "auto" or "gloo", as in `together`.
        local: torchrun's LOCAL_RANK.
        devices: how many GPUs this machine has.

    Returns:
        The device, and the name of the backend as `torch.distributed` takes it.

    Raises:
        CionError: NCCL has no GPU for this process.
    """
    if chosen.type != "cuda":
        return chosen, "gloo"
    if backend == "gloo":
        return torch.device("cuda", local % devices), "gloo"
    if local >= devices:
        raise CionError(
            f"process {local} of this machine has no GPU of its own, there are {devices}; start "
            f"at most {devices} processes here, or set runtime.backend to gloo, with which they "
            "share"
        )
    return torch.device("cuda", local), "cpu:gloo,cuda:nccl"


def several() -> bool:
    """Whether torchrun has started this training, with one process or many."""
    return dist.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


@torch.no_grad()
def mean(values: Tensor) -> Tensor:
    """The mean of `values` over all processes, the same shape and bits in each; `values` itself
    where there is one.
    """
    if not several():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / size()


@torch.no_grad()
def gather(values: Tensor) -> Tensor:
    """`values` [B, ...] of all processes, one after another: [size·B, ...]; B must be the same in
    each.
    """
    if not several():
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
    """`gather`, through which gradients go back: the gradient of `values` is that of all processes'
    losses summed.

    Where each process takes the mean loss of the whole joined batch, the mean of their gradients,
    which training takes, is thus the gradient of that loss.
    """
    return _Joined.apply(values) if several() else values


def either(flag: bool) -> bool:
    """Whether any process says so. It goes from CPU to CPU, and waits for no GPU."""
    if not several():
        return flag
    said = torch.tensor(float(flag))
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


def wait() -> None:
    """Until every process has come here."""
    either(False)


def listed(value: T) -> list[T]:
    """What each process has, by rank."""
    if not several():
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def told(value: T, by: int) -> T:
    """What process number `by` has, for all; the `value` of the others does not matter."""
    if not several():
        return value
    box = [value if rank() == by else None]
    dist.broadcast_object_list(box, src=by)
    return box[0]


def first(make: Callable[[], T]) -> T:
    """What the first process makes, for all."""
    return told(make() if rank() == 0 else None, by=0)


def agree(what: str, value: str) -> None:
    """See to it that all processes have the same `value`, such as the hash of their inputs.

    Raises:
        CionError: in every process, where one of them has another; it names `what` and the
            processes.
    """
    values = listed(value)
    others = [str(number) for number, other in enumerate(values) if other != values[0]]
    if others:
        raise CionError(
            f"{what} of process {', '.join(others)} are not those of process 0; every machine "
            "needs the same files: `dvc pull` there, or share the folder"
        )
