"""The processes of one training run.

torchrun starts several, and each takes its share of every batch. Without torchrun there is one.
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
    """While inside, this process is joined with those that torchrun has started beside it.

    What is on a GPU goes through NCCL, what is on the CPU through gloo. So processes can agree on
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
    local_rank = int(os.environ["LOCAL_RANK"])
    chosen, backends = choose_device(chosen, backend, local_rank, torch.cuda.device_count())
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        # Without the device NCCL would guess from the rank which one to wait on.
        dist.init_process_group(backends, device_id=chosen if "nccl" in backends else None)
    else:
        dist.init_process_group(backends)
    try:
        yield chosen
        barrier()
    finally:
        dist.destroy_process_group()


def choose_device(
    chosen: torch.device, backend: str, local_rank: int, devices: int
) -> tuple[torch.device, str]:
    """Which device a process of this machine takes, and how processes talk.

    Args:
        chosen: what kind of device they run on.
        backend: "auto" or "gloo", as in `together`.
        local_rank: the number of the process on this machine, torchrun's LOCAL_RANK.
        devices: how many GPUs this machine has.

    Returns:
        The device, and the name of the backend as `torch.distributed` takes it.

    Raises:
        CionError: NCCL has no GPU for this process.
    """
    if chosen.type != "cuda":
        return chosen, "gloo"
    if backend == "gloo":
        return torch.device("cuda", local_rank % devices), "gloo"
    if local_rank >= devices:
        raise CionError(
            f"process {local_rank} of this machine has no GPU of its own, there are {devices}; "
            f"start at most {devices} processes here, or set runtime.backend to gloo, with which "
            "they share"
        )
    return torch.device("cuda", local_rank), "cpu:gloo,cuda:nccl"


def is_distributed() -> bool:
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
    """The mean of `values` over all processes, with the same bits in each."""
    if not is_distributed():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / size()


@torch.no_grad()
def gather(values: Tensor) -> Tensor:
    """The values of all processes, one after another.

    Args:
        values: [B, ...], of the same shape in each process.

    Returns:
        [size·B, ...], without gradient.
    """
    if not is_distributed():
        return values
    parts = [torch.empty_like(values) for _ in range(size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return gather(values)

    @staticmethod
    def backward(ctx: FunctionCtx, above: Tensor) -> Tensor:
        total = above.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(size())[rank()]


def gather_with_gradient(values: Tensor) -> Tensor:
    """`gather`, through which gradients go back.

    The gradient of `values` is that of the sum of all processes' losses. So where each process
    takes the mean loss of the whole gathered batch, the mean of their gradients, which training
    takes, is the gradient of that loss.
    """
    return _GatherWithGradient.apply(values) if is_distributed() else values


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process. It goes from CPU to CPU, and waits for no GPU."""
    if not is_distributed():
        return flag
    value = torch.tensor(float(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value)


def barrier() -> None:
    """Wait until every process has come here."""
    any_process(False)


def gather_objects(value: T) -> list[T]:
    """The value of each process, by rank."""
    if not is_distributed():
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def broadcast(value: T, source: int) -> T:
    """The value of process number `source`, for all; those of the others do not matter."""
    if not is_distributed():
        return value
    values = [value if rank() == source else None]
    dist.broadcast_object_list(values, src=source)
    return values[0]


def make_once(make: Callable[[], T]) -> T:
    """What the first process makes, for all."""
    return broadcast(make() if rank() == 0 else None, source=0)


def check_equal(what: str, value: str) -> None:
    """Check that all processes have the same value, such as the hash of their inputs.

    Args:
        what: the value is of, for the message.
        value: of this process.

    Raises:
        CionError: one process has another value. It is raised in every process, and names them.
    """
    values = gather_objects(value)
    others = [str(number) for number, other in enumerate(values) if other != values[0]]
    if others:
        raise CionError(
            f"{what} of process {', '.join(others)} are not those of process 0; every machine "
            "needs the same files: `dvc pull` there, or share the folder"
        )
