"""One training run as a person sees it: a progress bar, warnings, and records of every step."""

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
from cion_core.training.history import HistoryRow
from cion_core.training.learner import Learner
from cion_core.training.loop import Clock, Probe, train


class Record(Protocol):
    """Where the numbers of a run go."""

    def metrics(self, values: HistoryRow, step: int) -> None: ...


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
    diagnose: Callable[[Sequence[HistoryRow]], list[str]] | None = None,
) -> tuple[list[HistoryRow], float]:
    """`train` a learner to the end, shown and recorded by the process that has a `record`.

    Args:
        name: of the run, in messages.
        learner, batches, steps, device, checkpoints, runtime, probe: as `train` takes them.
        record: where the numbers go; None: this process shows and records nothing.
        diagnose: what has gone wrong in the history so far. It is asked after each look of the
            probe; each text is said once.

    Returns:
        The history, and the seconds that it took, those before a kill included.
    """
    clock = Clock()
    rows = train(learner, batches, steps, device, checkpoints, runtime, probe, clock)
    if record is None:
        return list(rows), clock.seconds
    first_rows, _ = batches.sampler(0)
    images = len(first_rows)
    history, warned = [], set()
    progress = bar(name, "step", steps, items=rows)
    before, waited = time.perf_counter(), 0.0
    for row in progress:
        history.append(row)

        # Speed since the row before.
        now = time.perf_counter()
        seconds, seconds_waited = now - before, clock.waited - waited
        speed = {
            "images_per_second": images / seconds,
            "data_wait_percent": 100 * seconds_waited / seconds,
        }
        before, waited = now, clock.waited

        # What is shown and recorded.
        shown = {
            "images": f"{speed['images_per_second']:.0f}/s",
            "waiting": f"{speed['data_wait_percent']:.0f}%",
        }
        if device.type == "cuda":
            shown["memory"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB"
        progress.set_postfix(loss=f"{row['loss']:.3f}", **shown)
        step = row["step"]
        numbers = {key: value for key, value in row.items() if key != "step"}
        record.metrics({**numbers, **speed}, step=step)

        # What has gone wrong.
        done = step + 1
        probed = probe is not None and (done % probe.every == 0 or done == steps)
        if probed and diagnose:
            for text in set(diagnose(history)) - warned:
                say(f"warning: {name} at step {step}: {text}")
                warned.add(text)
    return history, clock.seconds


def describe_cost(seconds: float, device: torch.device) -> dict:
    """What a training took, as its file in `costs/` holds it.

    No stage depends on it: no two runs take the same.
    """
    return {"seconds": round(seconds, 1), "device": device.type, "processes": ranks.size()}
