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


def place(learner: Learner, device: torch.device, runtime: Runtime) -> nn.Module:
    """Bring a learner to its device, and set its networks up as `runtime` asks.

    Returns:
        What to call in its place: the learner, or of several processes its DistributedDataParallel.

    Raises:
        CionError: a network cannot make its activations again (`runtime.checkpointing`).
    """
    if runtime.threads != "auto":
        torch.set_num_threads(runtime.threads)
    if ranks.is_distributed() and device.type == "cuda" and learner.synchronised:
        synchronise(learner)
    learner.to(device).train()
    if device.type == "cuda":
        learner.to(memory_format=torch.channels_last)  # as tensor cores want convolutions
        # Sizes are few: let cuDNN try which algorithm is fastest.
        torch.backends.cudnn.benchmark = True
    for network in learner.networks():
        if runtime.checkpointing:
            if not hasattr(network, "set_grad_checkpointing"):
                raise CionError(
                    f"runtime.checkpointing: {type(network).__name__} knows no such thing; set it "
                    "to false"
                )
            network.set_grad_checkpointing()
        if should_compile(runtime, device):
            network.compile(dynamic=False)  # the sizes of views are few, and never change
    if not ranks.is_distributed():
        return learner
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(learner, device_ids=devices, broadcast_buffers=False)


def should_compile(runtime: Runtime, device: torch.device) -> bool:
    """Whether networks are compiled: as set, or on GPUs where Triton and a C compiler are there."""
    if runtime.compile != "auto":
        return runtime.compile
    has_triton = find_spec("triton") is not None
    has_compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
    return device.type == "cuda" and has_triton and has_compiler


def synchronise(learner: nn.Module) -> None:
    """Let the batch norms in it go by the shares of all processes together.

    timm's layers that are a batch norm and an activation in one keep the activation, which torch's
    own converter drops.
    """
    convert_sync_batchnorm(learner)


def own_generators(device: torch.device) -> AbstractContextManager:
    """While inside, a training's seeds and draws are its own; it touches no other GPU's."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def describe_runtime(runtime: Runtime, device: torch.device) -> dict:
    """The settings that a training was run with, and what `auto` meant here; for its card."""
    found = {
        "device": device.type,
        "precision": resolve(runtime.precision, device),
        "processes": ranks.size(),
        "compile": should_compile(runtime, device),
        "threads": torch.get_num_threads(),
    }
    return runtime.model_dump() | found
