"""Numbers on their way from the device: read a step late there, so that nobody waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cion_core.training.learner import Rates


@dataclass(frozen=True)
class StepInfo:
    """What the host knows of a step whose numbers are on their way.

    Attributes:
        step: its number.
        rates: what the schedules said.
        names: of what is watched.
    """

    step: int
    rates: Rates
    names: tuple[str, ...]


class Readings:
    """The numbers of the last steps, which the device is still working on.

    Attributes:
        delay: how many steps late they are read: 1 on a GPU; 0 on a CPU, which has them at once.
    """

    def __init__(self, device: torch.device) -> None:
        self.delay = 1 if device.type == "cuda" else 0
        self._on_the_way: deque[tuple[StepInfo, Tensor, torch.cuda.Event | None]] = deque()

    def send(self, info: StepInfo, values: Tensor) -> None:
        """Ask for the `values` of a step, float32 [N] on the device, without waiting for them."""
        arrived = None
        if values.device.type == "cuda":
            # Pinned memory is what a GPU can copy to by itself.
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = pinned.copy_(values, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._on_the_way.append((info, values, arrived))

    def receive(self, left: int) -> Iterator[tuple[StepInfo, list[float]]]:
        """The numbers of all steps but the last `left`, oldest first, each once."""
        while len(self._on_the_way) > left:
            info, values, arrived = self._on_the_way.popleft()
            if arrived is not None:
                arrived.synchronize()
            yield info, values.tolist()
