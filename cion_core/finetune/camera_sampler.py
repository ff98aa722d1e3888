"""Which images of a cluster meet: those of other cameras first, computed from the step number
alone.
"""

from __future__ import annotations

import numpy as np

from cion_core.training.sampler import Sampler


class CameraSampler(Sampler):
    """`people` (P) x `instances` (K) images a batch, as unsupervised re-identification draws them
    (Ge et al., "SpCL", NeurIPS 2020, and Cluster Contrast after it).

    Somebody's K images are one of them, drawn at random, and K - 1 of those that other cameras
    took; of all others where no other camera did. They are drawn with repetition where fewer than K
    are there to draw from.

    People come in shuffled epochs, of which the rest that fills no batch is dropped. A batch keeps
    its size where fewer than P people are labelled: they come again, in another order and in other
    images. A new round of `every` steps begins a new epoch, since its labels are new ones.

    labels int64 [N], numbered from 0; images of -1 are in no batch. cameras int64 [N].

    Raises:
        ValueError: nobody is labelled.
    """

    def __init__(
        self,
        labels: np.ndarray,
        cameras: np.ndarray,
        people: int,
        instances: int,
        seed: int,
        every: int,
    ) -> None:
        known = np.flatnonzero(labels >= 0)
        if not len(known):
            raise ValueError(f"none of {len(labels)} images is labelled")
        super().__init__(labels[known], seed)
        self.labels, self.cameras = np.asarray(labels, np.int64), cameras
        self.people, self.instances, self.every = people, instances, every
        self._rows = np.split(
            known[np.argsort(labels[known], kind="stable")], np.cumsum(self.counts)[:-1]
        )

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        there = len(self._rows)
        number, place = divmod(step, self.every)
        epoch, batch = divmod(place, max(1, there // self.people))
        order = np.random.default_rng([self.seed, 0, number, epoch])
        people = np.concatenate([order.permutation(there) for _ in range(-(-self.people // there))])
        chosen = people[batch * self.people : (batch + 1) * self.people]
        draws = np.random.default_rng([self.seed, 1, step])
        return np.concatenate(
            [self._draw(self._rows[person], draws) for person in chosen]
        ), self.instances

    def _draw(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """K of somebody's images, the first one being what the others are told from."""
        first = draws.choice(rows)
        others = rows[self.cameras[rows] != self.cameras[first]]
        if not len(others):
            others = rows[rows != first] if len(rows) > 1 else rows
        again = len(others) < self.instances  # as published, though K - 1 would do
        return np.append(first, draws.choice(others, self.instances - 1, replace=again))
