"""One training run as a person sees it: a bar with its speed, warnings, records of every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from cion_core.progress import bar, say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import Batches
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.history import Row
from cion_core.training.learner import Learner
from cion_core.training.loop import Clock, Probe, train


class Record(Protocol):
    """Where the numbers of a run go."""

    def metrics(self, values: Row, step: int) -> None: ...


def fit(
    name: str,
    learner: Learner,
    batches: Batches,
    steps: int,
    device: torch.device,
    checkpoints: Checkpoints,
    runtime: Runtime,
    record: Record | None,
    probe: Probe | None = None,
    diagnose: Callable[[Sequence[Row]], list[str]] | None = None,
) -> tuple[list[Row], float]:
    """`train` a learner to the end, and show how it goes.

    Args:
        name: of the run, in messages.
        learner: as for `loop.train`, and so are the next five.
        batches: likewise.
        steps: likewise.
        device: likewise.
        checkpoints: likewise.
        runtime: likewise.
        record: where numbers go; None in processes that neither show nor record anything.
        probe: as for `loop.train`.
        diagnose: what has gone wrong in the history so far, asked after each look of the probe;
            each text is said once.

    Returns:
        The history, and the seconds that it took, those before a kill included.
    """
    clock = Clock()
    rows = train(learner, batches, steps, device, checkpoints, runtime, probe, clock)
    if record is None:
        return list(rows), clock.seconds
    images = len(batches.sampler(0)[0])
    history: list[Row] = []
    told: set[str] = set()
    before, waited = time.perf_counter(), 0.0
    progress = bar(name, "step", steps, items=rows)
    for row in progress:
        history.append(row)

        # Speed.
        now = time.perf_counter()
        speed = {
            "images_per_second": images / (now - before),
            "data_wait_percent": 100 * (clock.waited - waited) / (now - before),
        }
        before, waited = now, clock.waited
        shown = {
            "images": f"{speed['images_per_second']:.0f}/s",
            "waiting": f"{speed['data_wait_percent']:.0f}%",
        }
        if device.type == "cuda":
            shown["memory"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB"
        progress.set_postfix(loss=f"{row['loss']:.3f}", **shown)
        numbers = {key: value for key, value in row.items() if key != "step"}
        record.metrics({**numbers, **speed}, step=row["step"])

        # Warnings.
        done = row["step"] + 1
        if probe and diagnose and (done % probe.every == 0 or done == steps):
            for text in set(diagnose(history)) - told:
                say(f"warning: {name} at step {row['step']}: {text}")
                told.add(text)
    return history, clock.seconds


def describe_cost(seconds: float, device: torch.device) -> dict:
    """What a training took, as its file in `costs/` holds it.

    No stage depends on it: no two runs take the same.
    """
    return {"seconds": round(seconds, 1), "device": device.type, "processes": ranks.size()}
