"""What a step trains on: a process's share of a sampler's rows, made into tensors."""

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
from cion_core.training.workers import WorkerContext, begin_worker


@dataclass
class Item:
    """A process's share of a step.

    Attributes:
        instances: K, images of each identity.
        identities: int64 [B], of each image, numbered from 0.
        views: float32 [B, 3, height, width] each, normalised.
    """

    instances: int
    identities: Tensor
    views: list[Tensor]

    def pin_memory(self) -> Item:
        """As DataLoader asks for it."""
        views = [view.pin_memory() for view in self.views]
        return Item(self.instances, self.identities.pin_memory(), views)


class Batches(ABC, Dataset):
    """`batches[step]` is this process's share of a step, as workers hand it over.

    `prepare` brings it to the network's device as an `Item`.

    Randomness must come from (seed, step, place in the whole batch) alone. Then neither workers nor
    a resume nor the number of processes change anything.

    Args:
        sampler: which rows meet at which step.
        seed: of the run.
        rank: the number of this process.
        processes: how many there are. Each gets its share of the sampler's batch, whole
            identities, in order.
    """

    def __init__(self, sampler: Sampler, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.sampler = sampler
        self.seed = seed
        self.rank = rank
        self.processes = processes

    @abstractmethod
    def __getitem__(self, step: int) -> Any:
        """This process's share of `step`: an `Item`, or what this class's own `prepare` takes."""

    def share(self, step: int) -> tuple[list[int], range, int, Tensor]:
        """This process's share of `step`.

        Example: of the 8 rows of a batch, process 1 of 2 has those at places 4 to 7.

        Returns:
            Rows, their places in the whole batch, K, and the rows' identities int64 [B].
        """
        rows, instances = self.sampler(step)
        size = len(rows) // self.processes
        places = range(self.rank * size, (self.rank + 1) * size)
        rows = rows[places.start : places.stop]
        identities = torch.from_numpy(self.sampler.labels[rows].astype(np.int64))
        return rows.tolist(), places, instances, identities

    def prepare(self, item: Any, device: torch.device) -> Item:
        """What `load` has yielded, as an item whose tensors are on the device of the network."""
        views = [view.to(device, non_blocking=True) for view in item.views]
        return Item(item.instances, item.identities.to(device, non_blocking=True), views)

    def end_of_round(self, step: int) -> int:
        """The first step after the round that `step` is in. By default there is one round."""
        return sys.maxsize

    def begin_round(self, step: int, learner: Learner) -> None:
        """Prepare a round: called before its first step, and again before the first after a resume.

        What a round needs beyond its number must be in `state_dict`, which a resumed run is given
        again.
        """

    def state_dict(self) -> dict:
        """What a resume in the middle of a round needs: containers of tensors, numbers, strings."""
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
            # A fork would inherit OpenCV's and OpenMP's locks as they happen to be, and could wait
            # for ever.
            multiprocessing_context=WorkerContext() if workers else None,
            # A loader draws a seed; drawn from the global generator, each resume would shift it.
            generator=torch.Generator(),
        )


def check_shares(key: str, batch: int, instances: int, accumulate: int = 1) -> None:
    """Check that every part of every process's share of a batch holds whole identities.

    Args:
        key: of the batch in params.yaml, for the message.
        batch: images over all processes.
        instances: K.
        accumulate: parts of a process's share.

    Raises:
        CionError: one does not.
    """
    parts = ranks.size() * accumulate
    if batch % (parts * instances):
        raise CionError(
            f"{key} {batch} cannot be shared out: {ranks.size()} processes x runtime.accumulate "
            f"{accumulate} parts of whole identities of {instances} crops; a multiple of "
            f"{parts * instances} can"
        )
