"""What a step trains on: a process's share of the rows that a sampler has chosen, made into
tensors.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.training.learner import Learner
from cion_core.training.sampler import Sampler
from cion_core.training.workers import Spawned, begin_worker


@dataclass
class Item:
    """A process's share of a step: K images of each identity, as views float32 [B, 3, height,
    width], normalised.

    identities int64 [B]: whose they are, numbered from 0.
    """

    instances: int
    identities: Tensor
    views: list[Tensor]

    def pin_memory(self) -> Item:
        """As DataLoader asks for it."""
        return Item(
            self.instances, self.identities.pin_memory(), [view.pin_memory() for view in self.views]
        )


class Batches(ABC, Dataset):
    """`batches[step]` is an item, which `prepare` makes into tensors where the network is.

    Of `ranks` processes number `rank` gets its share of the sampler's batch, whole identities, in
    order. Randomness must come from (seed, step, place in the whole batch) alone: then neither
    workers nor a resume nor the number of processes change anything.
    """

    def __init__(self, sampler: Sampler, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.sampler, self.seed, self.rank, self.ranks = sampler, seed, rank, ranks

    @abstractmethod
    def __getitem__(self, step: int) -> Any:
        """This process's share of `step`: an `Item`, or what this class's own `prepare` takes."""

    def share(self, step: int) -> tuple[list[int], range, int, Tensor]:
        """Of this process's share of `step`: rows, their places in the whole batch, K, identities
        int64 [B].
        """
        rows, instances = self.sampler(step)
        size = len(rows) // self.ranks
        places = range(self.rank * size, (self.rank + 1) * size)
        rows = rows[places.start : places.stop]
        identities = torch.from_numpy(self.sampler.labels[rows].astype(np.int64))
        return rows.tolist(), places, instances, identities

    def prepare(self, item: Any, device: torch.device) -> Item:
        """What `load` has yielded, as an item whose tensors are on the device of the network."""
        views = [view.to(device, non_blocking=True) for view in item.views]
        return Item(item.instances, item.identities.to(device, non_blocking=True), views)

    def until(self, step: int) -> int:
        """The first step behind the round that `step` is in: `renew` is called where a round
        begins.
        """
        return sys.maxsize

    def renew(self, step: int, learner: Learner) -> None:
        """Called before the first step of a round, and before `step` where a run goes on in the
        middle of one.

        What a round needs beyond its number must be in `state_dict`, which a run that goes on is
        given again.
        """

    def state_dict(self) -> dict:
        """What a run that goes on in the middle of a round must know: containers of tensors,
        numbers, strings.
        """
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Put back what `state_dict` returned."""

    def load(self, steps: range, workers: int, device: torch.device) -> DataLoader:
        """The items of `steps` in order.

        Args:
            steps: which.
            workers: processes that make them; 0: this one does.
            device: where `prepare` will bring them. For a GPU they wait in pinned memory, from
                which it copies while it computes; for a CPU that would be one copy more.
        """
        return DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=begin_worker,
            # a fork would inherit OpenCV's and OpenMP's locks as they happen to be, and could wait
            # for ever
            multiprocessing_context=Spawned() if workers else None,
            # a loader draws a seed; from the global one, each resume would shift it
            generator=torch.Generator(),
        )


def shared(key: str, batch: int, instances: int, accumulate: int = 1) -> None:
    """CionError, naming `key`, unless every part of every process's share of a batch holds whole
    identities.
    """
    parts = ranks.size() * accumulate
    if batch % (parts * instances):
        raise CionError(
            f"{key} {batch} cannot be shared out: {ranks.size()} processes x runtime.accumulate "
            f"{accumulate} parts of whole identities of {instances} crops; a multiple of "
            f"{parts * instances} can"
        )
