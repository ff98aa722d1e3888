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
from cion_core.training.ahead import prepare_ahead
from cion_core.training.batches import Batches, Item
from cion_core.training.checkpoint import Checkpoints, reseed_by_rank, restore_rngs, rng_state
from cion_core.training.history import History, HistoryRow
from cion_core.training.learner import Learner
from cion_core.training.optimizers import keep_layout
from cion_core.training.placing import place
from cion_core.training.precision import Precision
from cion_core.training.readings import Readings, StepInfo
from cion_core.training.stop import Preempted, Stop
from cion_core.training.workers import end_workers


class Probe(Protocol):
    """Measures what has been learnt, every so many steps; its numbers go into history."""

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
        """The same items; the time that is waited for them is added up."""
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
) -> Iterator[HistoryRow]:
    """Train a learner in place, from its newest checkpoint on; yields a row of history per step.

    Rows of steps already done are yielded again first. A checkpoint follows every
    `runtime.checkpoint_every` steps and the last one. Of several processes each calls this with its
    own share of every batch; the first one writes the checkpoints.

    On a GPU the numbers of a step are read while the next one runs, so that nobody waits for them;
    its row comes then.

    Args:
        learner: what is trained.
        batches: what it is trained on.
        steps: of the whole run.
        device: where the networks are.
        checkpoints: of this run.
        runtime: settings of this machine.
        probe: its numbers are in the rows of every `probe.every`-th step and the last one.
        clock: it goes on from the time that the checkpoint tells of.

    Raises:
        Preempted: a SIGTERM has come; a checkpoint of the last whole step is there.
        CionError: the loss or a gradient is no longer finite, or the checkpoint is another
            revision's; the checkpoints stay as they are.
    """
    clock = clock or Clock()
    model = place(learner, device, runtime)
    optimizer = learner.optimizer()
    precision = Precision(runtime.precision, device)
    states = {"learner": learner, "optimizer": optimizer, "scaler": precision, "batches": batches}
    history, readings = History(checkpoints.folder), Readings(device)
    parts = runtime.accumulate if learner.can_accumulate else 1

    def save(done: int) -> None:
        state = {name: part.state_dict() for name, part in states.items()}
        rngs = ranks.gather_objects(rng_state(device))
        if ranks.rank() == 0:
            of_run = {"rng": rngs, "history": history.write(), "seconds": clock.seconds}
            checkpoints.save(done, {**state, **of_run})

    def read_rows(left: int) -> Iterator[HistoryRow]:
        """The rows of all steps whose numbers are not read yet, but for the last `left`."""
        for info, (loss, largest_norm, *watched) in readings.receive(left):
            if not math.isfinite(loss) or not precision.may_continue(largest_norm):
                raise CionError(_describe_failure(learner, info, loss, largest_norm, checkpoints))
            named = dict(zip(info.names, watched, strict=True))
            history.append({"step": info.step, "loss": loss, **asdict(info.rates), **named})
            yield history.rows[-1]

    start = _resume(states, checkpoints, history, clock, device)
    yield from history.rows
    stop = Stop()
    items = _items(learner, batches, range(start, steps), device, runtime.workers, clock)
    with stop.listening(), closing(items):
        for step in range(start, steps):
            # 1. The batch. Where one process is stopped, all stop at this step, or some would wait
            # for the others.
            item = _next_item(items, stop)
            if ranks.any_process(stop.asked or item is None):
                yield from read_rows(left=0)
                save(step)
                message = (
                    f"{learner.name} stopped by SIGTERM after {step} of {steps} steps; run again "
                    "to go on"
                )
                raise Preempted(message, step)

            # 2. The schedules.
            rates = learner.rates(step, steps)
            learner.before(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rates.lr * group.get("times", 1)
                group["weight_decay"] = rates.weight_decay if group["decays"] else 0.0

            # 3. Gradients, and the optimiser's step.
            optimizer.zero_grad(set_to_none=True)
            loss, watched = _backward(model, item, precision, parts)
            for parameter in learner.frozen(step, steps):
                parameter.grad = None
            largest_norm = precision.clip(optimizer, learner.clip)
            precision.step(optimizer, largest_norm)
            learner.after(rates)

            # 4. Its numbers, the probe, a checkpoint.
            values = torch.stack([loss, largest_norm.float(), *watched.values()])
            readings.send(StepInfo(step, rates, tuple(watched)), ranks.mean(values))
            done = step + 1
            probes = bool(probe) and (done % probe.every == 0 or done == steps)
            saves = done % runtime.checkpoint_every == 0 or done == steps
            new_rows = list(read_rows(left=0 if probes or saves else readings.delay))
            if probes:
                new_rows[-1] |= probe(learner.kept_network)
            if saves:
                save(done)
            yield from new_rows


def _resume(
    states: Mapping[str, Any],
    checkpoints: Checkpoints,
    history: History,
    clock: Clock,
    device: torch.device,
) -> int:
    """Bring everything back from the newest checkpoint; returns how many steps are done."""
    if (newest := checkpoints.load_newest_of_all()) is None:
        history.restart()
        reseed_by_rank()
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
        raise CionError(_describe_mismatch(states["learner"], checkpoints, start, error)) from error
    return start


def _describe_mismatch(
    learner: Learner, checkpoints: Checkpoints, step: int, error: Exception
) -> str:
    """What to do about a checkpoint that does not fit: nobody's hours are thrown away unasked."""
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
            end = min(batches.end_of_round(step), steps.stop)
            batches.begin_round(step, learner)
            prepare = partial(batches.prepare, device=device)
            # No name here may hold the loader: it asks its workers to end when nobody holds it any
            # more.
            yield from prepare_ahead(
                clock.waiting(batches.load(range(step, end), workers, device)), prepare, device
            )
            step = end
    finally:
        end_workers()


def _next_item(items: Iterator[Item], stop: Stop) -> Item | None:
    """The next item; None where a signal to us all has killed the workers that would make it."""
    try:
        return next(items)
    except RuntimeError:
        if not stop.asked:
            raise
        return None


def _backward(
    model: Callable, item: Item, precision: Precision, parts: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add up the gradients of the batch's mean loss, part by part.

    Returns:
        The loss and what is watched, both means over the parts.
    """
    mean_loss, mean_watched = 0.0, {}
    chunked = [tensor.chunk(parts) for tensor in [*item.views, item.identities]]
    for number, (*views, identities) in enumerate(zip(*chunked, strict=True), 1):
        # Processes exchange their gradients once, with the last part.
        exchanges = number == parts or not isinstance(model, DistributedDataParallel)
        with nullcontext() if exchanges else model.no_sync():
            with precision.autocast():
                loss, watched = model(views, item.instances, identities)
            precision.backward(loss / parts)
        mean_loss = mean_loss + loss.detach().float() / parts
        for name, value in watched.items():
            before = mean_watched.get(name, 0.0)
            mean_watched[name] = before + value.detach().float() / parts
    return mean_loss, mean_watched


def _describe_failure(
    learner: Learner, info: StepInfo, loss: float, norm: float, checkpoints: Checkpoints
) -> str:
    """What to say where the loss or a gradient is no longer finite."""
    files = checkpoints.files()
    kept = (
        f"the last good checkpoint is kept: {files[-1]}" if files else "there was no checkpoint yet"
    )
    return (
        f"{learner.name} at step {info.step}: loss {loss}, largest gradient norm {norm}; "
        f"{learner.advice} (the learning rate was {info.rates.lr:g}); {kept}"
    )
