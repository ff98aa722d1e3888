"""The training loop: any method, on the CPU, one GPU or many, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.pretrain.batches import Batches
from cion_core.training.checkpoint import Checkpoints, restore_rng, rng_state
from cion_core.pretrain.methods import Method
from cion_core.training.precision import Precision
from cion_core.training.stop import Preempted, Stop
from cion_core.pretrain.watch import Probe

COLUMNS = ("step", "loss", "lr", "weight_decay", "momentum")  # of every row of history; methods add their own


@dataclass
class Loop:
    """How the loop is run; none of it changes a result but by rounding.

    every: steps between checkpoints. workers: processes that make batches, 0: this one. accumulate: parts in which a
    process takes its share of a batch. compile: through torch.compile, `checkpointing`: activations are made again for
    the backward pass instead of kept. `waited` is the time spent waiting for batches so far, in seconds.
    """

    every: int
    workers: int = 0
    precision: str = "float32"
    accumulate: int = 1
    compile: bool = False
    checkpointing: bool = False
    waited: float = 0.0

    def timed(self, items: Iterable) -> Iterator:
        """`items`, waiting for which is added to `waited`."""
        items = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            self.waited += time.perf_counter() - begin
            yield item


def train(
    method: Method,
    batches: Batches,
    steps: int,
    device: torch.device,
    checkpoints: Checkpoints,
    loop: Loop,
    probe: Probe | None = None,
) -> Iterator[dict[str, float]]:
    """Train `method` in place, yielding one row of history per step; goes on from the newest checkpoint.

    Rows of steps already done are yielded again first. A checkpoint follows every `loop.every` steps and the last one.
    `probe`'s numbers are in the rows of every `probe.every`-th step and the last one.
    Of several processes each calls this with its own share of every batch; the first one writes the checkpoints.

    Raises:
        Preempted: a SIGTERM has come; a checkpoint of the last whole step is there.
        CionError: the loss or a gradient is no longer finite; the checkpoints stay as they are.
    """
    model = _placed(method, device, loop)
    optimizer, precision = method.optimizer(), Precision(loop.precision, device)
    start, history = 0, []
    if (newest := ranks.first(checkpoints.latest)) is not None:
        start, state = newest
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        precision.scaler.load_state_dict(state["scaler"])
        history = state["history"]
        yield from history
    if newest is not None and len(state["rng"]) == ranks.size():
        restore_rng(state["rng"][ranks.rank()])  # dropout, drop path and shuffles draw from global generators
    elif ranks.rank():
        torch.manual_seed(torch.initial_seed() + ranks.rank())  # or all processes would drop the same units

    def save(done: int) -> None:
        states = {"method": method, "optimizer": optimizer, "scaler": precision.scaler}
        state = {name: part.state_dict() for name, part in states.items()}
        rng = ranks.listed(rng_state())
        if ranks.rank() == 0:
            checkpoints.save(done, {**state, "rng": rng, "history": history})

    stop = Stop()
    with stop.listening():
        loader = loop.timed(batches.load(range(start, steps), loop.workers))
        for step in range(start, steps):
            item = _next(loader, stop)
            if ranks.either(stop.asked or item is None, device):  # all at this step, or some would wait for the others
                save(step)
                told = f"{method.name} stopped by SIGTERM after {step} of {steps} steps; run again to go on"
                raise Preempted(told, step)
            rates = method.rates(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rates.lr
                group["weight_decay"] = rates.weight_decay if group["decays"] else 0.0
            optimizer.zero_grad(set_to_none=True)
            views, instances = batches.views(item, device)
            given = [*views, item.identities.to(device)]
            loss, watched = _backward(model, given, instances, precision, loop.accumulate)
            for parameter in method.frozen(step, steps):
                parameter.grad = None
            largest = precision.clip(optimizer, method.clip)
            if not math.isfinite(loss) or not precision.step(optimizer, largest):
                raise CionError(_broken(method, step, loss, largest, checkpoints))
            method.after(rates)

            history.append({"step": step, "loss": loss, **asdict(rates), **watched})
            if probe and ((step + 1) % probe.every == 0 or step + 1 == steps):
                history[-1] |= probe(method.exported)
            if (step + 1) % loop.every == 0 or step + 1 == steps:
                save(step + 1)
            yield history[-1]


def _placed(method: Method, device: torch.device, loop: Loop) -> nn.Module:
    """`method` on its device and as it is called: with what the loop asks of its networks, and beside its likes."""
    if ranks.size() > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(method)
    method.to(device).train()
    for network in method.networks():
        if loop.checkpointing:
            if not hasattr(network, "set_grad_checkpointing"):
                raise CionError(
                    f"pretrain.checkpointing: {type(network).__name__} knows no such thing; set it to false"
                )
            network.set_grad_checkpointing()
        if loop.compile:
            network.compile(dynamic=False)  # the sizes of views are few, and never change
    if ranks.size() == 1:
        return method
    return DistributedDataParallel(
        method, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def _next(loader: Iterator, stop: Stop) -> tuple | None:
    """The next item; None where a signal to us all has killed the workers that would have made it."""
    try:
        return next(loader)
    except RuntimeError:
        if not stop.asked:
            raise
        return None


def _backward(
    model: nn.Module, given: list[torch.Tensor], instances: int, precision: Precision, parts: int
) -> tuple[float, dict[str, float]]:
    """Gradients of the batch's mean loss, part by part; that loss and what is watched, over all parts and processes.

    given: the views and, last, the identities.
    """
    values, names = 0.0, []
    for number, part in enumerate(zip(*(tensor.chunk(parts) for tensor in given), strict=True), 1):
        joins = number == parts or not isinstance(model, DistributedDataParallel)
        with nullcontext() if joins else model.no_sync():
            with precision.autocast():
                loss, watched = model(list(part[:-1]), instances, part[-1])
            precision.backward(loss / parts)
        names = list(watched)
        values = values + torch.stack([loss.detach(), *(watched[name].detach().float() for name in names)]) / parts
    loss, *others = ranks.mean(values).tolist()
    return loss, dict(zip(names, others, strict=True))


def _broken(method: Method, step: int, loss: float, norm: float, checkpoints: Checkpoints) -> str:
    files = checkpoints.files()
    kept = f"the last good checkpoint is kept: {files[-1]}" if files else "there was no checkpoint yet"
    return (
        f"{method.name} at step {step}: loss {loss}, largest gradient norm {norm}; "
        f"lower pretrain.{method.name}.lr (now {method.settings.lr}) or lengthen pretrain.warmup; {kept}"
    )
