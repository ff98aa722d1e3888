"""The training loop: any learner, on the CPU, one GPU or many, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.ahead import ahead
from cion_core.training.batches import Batches, Item
from cion_core.training.checkpoint import Checkpoints, restore_rngs, rng_state, scatter_rngs
from cion_core.training.history import History, Row
from cion_core.training.learner import Learner
from cion_core.training.optimizers import keep_layout
from cion_core.training.placing import placed
from cion_core.training.precision import Precision
from cion_core.training.readings import Readings, Sent
from cion_core.training.stop import Preempted, Stop
from cion_core.training.workers import end_workers


class Probe(Protocol):
    """Looks at what has been learnt every `every` steps; its numbers go into history."""

    every: int

    def __call__(self, network: nn.Module) -> dict[str, float]: ...


@dataclass
class Clock:
    """How long a training takes, in seconds.

    Attributes:
        before: spent by processes before this one, up to the checkpoint that it goes on from. What
            a killed process did after its last checkpoint is done again, and counted then.
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
    """Train `learner` in place, yielding one row of history per step; goes on from the newest
    checkpoint.

    Rows of steps already done are yielded again first. A checkpoint follows every
    `runtime.checkpoint_every` steps and the last one. `probe`'s numbers are in the rows of every
    `probe.every`-th step and the last one. Of several processes each calls this with its own share
    of every batch; the first one writes the checkpoints. `clock` goes on from the time that the
    checkpoint tells of.

    On a GPU the numbers of a step are read while the next one runs, so that nobody waits for them;
    its row comes then.

    Raises:
        Preempted: a SIGTERM has come; a checkpoint of the last whole step is there.
        CionError: the loss or a gradient is no longer finite, or the checkpoint is another
            revision's; the checkpoints stay as they are.
    """
    clock = clock or Clock()
    model = placed(learner, device, runtime)
    optimizer, precision = learner.optimizer(), Precision(runtime.precision, device)
    states = {"learner": learner, "optimizer": optimizer, "scaler": precision, "batches": batches}
    history, readings = History(checkpoints.folder), Readings(device)
    parts = runtime.accumulate if learner.splits else 1

    def save(done: int) -> None:
        state = {name: part.state_dict() for name, part in states.items()}
        rngs = ranks.listed(rng_state(device))
        if ranks.rank() == 0:
            shared = {"rng": rngs, "history": history.write(), "seconds": clock.seconds}
            checkpoints.save(done, {**state, **shared})

    def rows(waiting: int) -> Iterator[Row]:
        """Of the steps whose numbers are read now: all but the last `waiting`."""
        for sent, (loss, largest, *watched) in readings.received(waiting):
            if not math.isfinite(loss) or not precision.fine(largest):
                raise CionError(_broken(learner, sent, loss, largest, checkpoints))
            named = dict(zip(sent.names, watched, strict=True))
            history.append({"step": sent.step, "loss": loss, **asdict(sent.rates), **named})
            yield history.rows[-1]

    start = _resume(states, checkpoints, history, clock, device)
    yield from history.rows
    stop = Stop()
    items = _items(learner, batches, range(start, steps), device, runtime.workers, clock)
    with stop.listening(), closing(items):
        for step in range(start, steps):
            item = _next(items, stop)
            if ranks.either(
                stop.asked or item is None
            ):  # all at this step, or some would wait for the others
                yield from rows(waiting=0)
                save(step)
                told = (
                    f"{learner.name} stopped by SIGTERM after {step} of {steps} steps; run again "
                    "to go on"
                )
                raise Preempted(told, step)

            rates = learner.rates(step, steps)
            learner.before(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rates.lr * group.get("times", 1)
                group["weight_decay"] = rates.weight_decay if group["decays"] else 0.0
            optimizer.zero_grad(set_to_none=True)
            loss, watched = _backward(model, item, precision, parts)
            for parameter in learner.frozen(step, steps):
                parameter.grad = None
            largest = precision.clip(optimizer, learner.clip)
            precision.step(optimizer, largest)
            learner.after(rates)
            values = torch.stack([loss, largest.float(), *watched.values()])
            readings.send(Sent(step, rates, tuple(watched)), ranks.mean(values))

            last = step + 1 == steps
            looks = bool(probe) and ((step + 1) % probe.every == 0 or last)
            saves = (step + 1) % runtime.checkpoint_every == 0 or last
            fresh = list(rows(waiting=0 if looks or saves else readings.delay))
            if looks:
                fresh[-1] |= probe(learner.exported)
            if saves:
                save(step + 1)
            yield from fresh


def _resume(
    states: Mapping[str, Any],
    checkpoints: Checkpoints,
    history: History,
    clock: Clock,
    device: torch.device,
) -> int:
    """Bring everything back from the newest checkpoint; how many steps it is behind, 0 where there
    is none.
    """
    if (newest := checkpoints.of_all_processes()) is None:
        history.restart()
        scatter_rngs()
        return 0
    owner, start, state = newest
    try:
        for name, part in states.items():
            part.load_state_dict(state[name])
        keep_layout(states["optimizer"])
        history.resume(start, state["history"], owner)
        clock.before = state["seconds"]
        restore_rngs(state["rng"], device)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CionError(_foreign(states["learner"], checkpoints, start, error)) from error
    return start


def _foreign(learner: Learner, checkpoints: Checkpoints, step: int, error: Exception) -> str:
    """What to do about a checkpoint that is whole and does not fit: nobody's hours are thrown away
    unasked.
    """
    lacking = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
    return (
        f"{checkpoints.folder}: its checkpoint after {step} steps of {learner.name} is of another "
        f"revision of CION ({lacking}); go on with that revision, or remove the folder to begin "
        "anew"
    )


def _items(
    learner: Learner,
    batches: Batches,
    steps: range,
    device: torch.device,
    workers: int,
    clock: Clock,
) -> Iterator[Item]:
    """The prepared items of `steps`, round by round. When it is closed, no worker is left."""
    step = steps.start
    try:
        while step < steps.stop:
            end = min(batches.until(step), steps.stop)
            batches.renew(step, learner)
            # nothing here may hold on to the loader, which asks its workers to end when nobody
            # holds it any more
            yield from ahead(
                clock.waiting(batches.load(range(step, end), workers, device)),
                partial(batches.prepare, device=device),
                device,
            )
            step = end
    finally:
        end_workers()


def _next(items: Iterator[Item], stop: Stop) -> Item | None:
    """The next item; None where a signal to us all has killed the workers that would have made
    it.
    """
    try:
        return next(items)
    except RuntimeError:
        if not stop.asked:
            raise
        return None


def _backward(
    model: Callable, item: Item, precision: Precision, parts: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients of the batch's mean loss, part by part; that loss and what is watched, both means
    over the parts.
    """
    loss, watched = 0.0, {}
    chunks = zip(*(tensor.chunk(parts) for tensor in [*item.views, item.identities]), strict=True)
    for number, (*views, identities) in enumerate(chunks, 1):
        joins = number == parts or not isinstance(model, DistributedDataParallel)
        with nullcontext() if joins else model.no_sync():
            with precision.autocast():
                value, seen = model(views, item.instances, identities)
            precision.backward(value / parts)
        loss = loss + value.detach().float() / parts
        watched = {
            name: watched.get(name, 0.0) + one.detach().float() / parts
            for name, one in seen.items()
        }
    return loss, watched


def _broken(
    learner: Learner, sent: Sent, loss: float, norm: float, checkpoints: Checkpoints
) -> str:
    files = checkpoints.files()
    kept = (
        f"the last good checkpoint is kept: {files[-1]}" if files else "there was no checkpoint yet"
    )
    return (
        f"{learner.name} at step {sent.step}: loss {loss}, largest gradient norm {norm}; "
        f"{learner.advice} (the learning rate was {sent.rates.lr:g}); {kept}"
    )
