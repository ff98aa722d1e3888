"""The training loop: any learner, on the CPU, one GPU or many, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import Batches
from cion_core.training.checkpoint import Checkpoints, restore_rng, rng_state
from cion_core.training.learner import Learner
from cion_core.training.precision import Precision
from cion_core.training.stop import Preempted, Stop


class Probe(Protocol):
    """Looks at what has been learnt every `every` steps; its numbers go into history."""

    every: int

    def __call__(self, network: nn.Module) -> dict[str, float]: ...


@dataclass
class Clock:
    """How long a training takes, in seconds.

    Attributes:
        before: spent by processes before this one, up to the checkpoint that it goes on from. What a killed process
            did after its last checkpoint is done again, and counted then.
        waited: for items, by this process.
    """

    before: float = field(default=0.0, init=False)
    waited: float = field(default=0.0, init=False)
    begun: float = field(default_factory=time.perf_counter, init=False)

    @property
    def seconds(self) -> float:
        """All that the training has taken up to now."""
        return self.before + time.perf_counter() - self.begun

    def waiting(self, items: Iterable) -> Iterator:
        """`items`, waiting for which is timed."""
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
    learner: Learner,
    batches: Batches,
    steps: int,
    device: torch.device,
    checkpoints: Checkpoints,
    runtime: Runtime,
    probe: Probe | None = None,
    clock: Clock | None = None,
) -> Iterator[dict[str, float]]:
    """Train `learner` in place, yielding one row of history per step; goes on from the newest checkpoint.

    Rows of steps already done are yielded again first. A checkpoint follows every `runtime.checkpoint_every` steps and
    the last one. `probe`'s numbers are in the rows of every `probe.every`-th step and the last one.
    Of several processes each calls this with its own share of every batch; the first one writes the checkpoints.
    `clock` goes on from the time that the checkpoint tells of.

    Raises:
        Preempted: a SIGTERM has come; a checkpoint of the last whole step is there.
        CionError: the loss or a gradient is no longer finite, or the checkpoint is another revision's; the checkpoints
            stay as they are.
    """
    clock = clock or Clock()
    model = placed(learner, device, runtime)
    optimizer, precision = learner.optimizer(), Precision(runtime.precision, device)
    parts = runtime.accumulate if learner.splits else 1
    start, history = 0, []
    if (newest := ranks.first(checkpoints.latest)) is not None:
        start, state = newest
        try:
            learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
            precision.scaler.load_state_dict(state["scaler"])
            batches.load_state_dict(state["batches"])
            clock.before = state["seconds"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise CionError(_foreign(learner, checkpoints, start, error)) from error
        history = state["history"]
        yield from history
    if newest is not None and len(state["rng"]) == ranks.size():
        restore_rng(state["rng"][ranks.rank()])  # dropout, drop path and shuffles draw from global generators
    elif ranks.rank():
        torch.manual_seed(torch.initial_seed() + ranks.rank())  # or all processes would drop the same units

    def save(done: int) -> None:
        states = {"learner": learner, "optimizer": optimizer, "scaler": precision.scaler, "batches": batches}
        state = {name: part.state_dict() for name, part in states.items()}
        rng = ranks.listed(rng_state())
        if ranks.rank() == 0:
            checkpoints.save(done, {**state, "rng": rng, "history": history, "seconds": clock.seconds})

    stop = Stop()
    loader, end = iter(()), start
    with stop.listening():
        for step in range(start, steps):
            if step == end:
                end = min(batches.until(step), steps)
                batches.renew(step, learner)
                loader = clock.waiting(batches.load(range(step, end), runtime.workers))
            item = _next(loader, stop)
            if ranks.either(stop.asked or item is None, device):  # all at this step, or some would wait for the others
                save(step)
                told = f"{learner.name} stopped by SIGTERM after {step} of {steps} steps; run again to go on"
                raise Preempted(told, step)
            rates = learner.rates(step, steps)
            learner.before(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rates.lr * group.get("times", 1)
                group["weight_decay"] = rates.weight_decay if group["decays"] else 0.0
            optimizer.zero_grad(set_to_none=True)
            views, instances = batches.views(item, device)
            given = [*views, item.identities.to(device)]
            loss, watched = _backward(model, given, instances, precision, parts)
            for parameter in learner.frozen(step, steps):
                parameter.grad = None
            largest = precision.clip(optimizer, learner.clip)
            if not math.isfinite(loss) or not precision.step(optimizer, largest):
                raise CionError(_broken(learner, step, loss, largest, rates.lr, checkpoints))
            learner.after(rates)

            history.append({"step": step, "loss": loss, **asdict(rates), **watched})
            if probe and ((step + 1) % probe.every == 0 or step + 1 == steps):
                history[-1] |= probe(learner.exported)
            if (step + 1) % runtime.checkpoint_every == 0 or step + 1 == steps:
                save(step + 1)
            yield history[-1]


def _foreign(learner: Learner, checkpoints: Checkpoints, step: int, error: Exception) -> str:
    """What to do about a checkpoint that is whole and does not fit: nobody's hours are thrown away unasked."""
    lacking = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
    return (
        f"{checkpoints.folder}: its checkpoint after {step} steps of {learner.name} is of another revision of CION "
        f"({lacking}); go on with that revision, or remove the folder to begin anew"
    )


def placed(learner: Learner, device: torch.device, runtime: Runtime) -> nn.Module:
    """`learner` on its device and as it is called: with what is asked of its networks, and beside its likes."""
    if ranks.size() > 1 and device.type == "cuda" and learner.synchronised:
        nn.SyncBatchNorm.convert_sync_batchnorm(learner)
    learner.to(device).train()
    for network in learner.networks():
        if runtime.checkpointing:
            if not hasattr(network, "set_grad_checkpointing"):
                raise CionError(f"runtime.checkpointing: {type(network).__name__} knows no such thing; set it to false")
            network.set_grad_checkpointing()
        if runtime.compile:
            network.compile(dynamic=False)  # the sizes of views are few, and never change
    if ranks.size() == 1:
        return learner
    return DistributedDataParallel(
        learner, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def used(runtime: Runtime, device: torch.device) -> dict:
    """What a training was run with, for the model's card: the settings, and what `auto` meant here."""
    found = {"device": device.type, "precision": Precision(runtime.precision, device).name, "processes": ranks.size()}
    return runtime.model_dump() | found


def _next(loader: Iterator, stop: Stop) -> object | None:
    """The next item; None where a signal to us all has killed the workers that would have made it."""
    try:
        return next(loader)
    except RuntimeError:
        if not stop.asked:
            raise
        return None


def _backward(
    model: Callable, given: list[torch.Tensor], instances: int, precision: Precision, parts: int
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


def _broken(learner: Learner, step: int, loss: float, norm: float, lr: float, checkpoints: Checkpoints) -> str:
    files = checkpoints.files()
    kept = f"the last good checkpoint is kept: {files[-1]}" if files else "there was no checkpoint yet"
    return (
        f"{learner.name} at step {step}: loss {loss}, largest gradient norm {norm}; "
        f"{learner.advice} (the learning rate was {lr:g}); {kept}"
    )
