"""Networks on their device: memory formats, batch norms of several processes, compiling."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from importlib.util import find_spec

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.layers import convert_sync_batchnorm

from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.learner import Learner
from cion_core.training.precision import resolve


def placed(learner: Learner, device: torch.device, runtime: Runtime) -> nn.Module:
    """`learner` on its device and as it is called: with what is asked of its networks, and beside
    its likes.
    """
    if runtime.threads != "auto":
        torch.set_num_threads(runtime.threads)
    if ranks.several() and device.type == "cuda" and learner.synchronised:
        synchronise(learner)
    learner.to(device).train()
    if device.type == "cuda":
        learner.to(memory_format=torch.channels_last)  # as tensor cores want convolutions
        torch.backends.cudnn.benchmark = (
            True  # sizes are few: let cuDNN try which algorithm is fastest
        )
    for network in learner.networks():
        if runtime.checkpointing:
            if not hasattr(network, "set_grad_checkpointing"):
                raise CionError(
                    f"runtime.checkpointing: {type(network).__name__} knows no such thing; set it "
                    "to false"
                )
            network.set_grad_checkpointing()
        if compiles(runtime, device):
            network.compile(dynamic=False)  # the sizes of views are few, and never change
    if not ranks.several():
        return learner
    return DistributedDataParallel(
        learner, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def compiles(runtime: Runtime, device: torch.device) -> bool:
    """Whether networks are compiled: on GPUs, where what that needs is there (Triton, and a C
    compiler).
    """
    if runtime.compile != "auto":
        return runtime.compile
    tools = find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
    return device.type == "cuda" and tools


def synchronise(learner: nn.Module) -> None:
    """Let the batch norms in it go by the shares of all processes together.

    timm's layers that are a batch norm and an activation in one keep the activation, which torch's
    own converter drops.
    """
    convert_sync_batchnorm(learner)


def own_generators(device: torch.device) -> AbstractContextManager:
    """While inside, the seeds and draws of a training are its own; of other GPUs than its own it
    touches none.
    """
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def used(runtime: Runtime, device: torch.device) -> dict:
    """What a training was run with, for the model's card: the settings, and what `auto` meant
    here.
    """
    found = {
        "device": device.type,
        "precision": resolve(runtime.precision, device),
        "processes": ranks.size(),
    }
    return (
        runtime.model_dump()
        | found
        | {"compile": compiles(runtime, device), "threads": torch.get_num_threads()}
    )
