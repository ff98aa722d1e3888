"""One training run as a person sees it: a bar with its speed, warnings, and records of every
step.
"""

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
    """`train` a learner to the end: the history, and the seconds that it took, those before a kill
    included.

    The process that has a `record` shows and records it.

    name: of the run, in messages. diagnose: what has gone wrong in the history so far, asked after
    each look of the probe; each text is said once.
    """
    clock = Clock()
    rows = train(learner, batches, steps, device, checkpoints, runtime, probe, clock)
    if record is None:
        return list(rows), clock.seconds
    crops, told = len(batches.sampler(0)[0]), set()
    progress, history, before, waited = (
        bar(name, "step", steps, items=rows),
        [],
        time.perf_counter(),
        0.0,
    )
    for row in progress:
        history.append(row)
        now = time.perf_counter()
        speed = {
            "images_per_second": crops / (now - before),
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
        record.metrics(
            {**{key: value for key, value in row.items() if key != "step"}, **speed},
            step=row["step"],
        )
        if (
            probe
            and diagnose
            and ((row["step"] + 1) % probe.every == 0 or row["step"] + 1 == steps)
        ):
            for text in set(diagnose(history)) - told:
                say(f"warning: {name} at step {row['step']}: {text}")
                told.add(text)
    return history, clock.seconds


def spent(seconds: float, device: torch.device) -> dict:
    """What a training took, as its file in `costs/` holds it.

    No stage depends on it: no two runs take the same.
    """
    return {"seconds": round(seconds, 1), "device": device.type, "processes": ranks.size()}
