"""Which images of a cluster meet: those of other cameras first.

It is computed from the number of the step alone.
"""

from __future__ import annotations

import numpy as np

from cion_core.training.sampler import Sampler, rows_of_each


class CameraSampler(Sampler):
    """Batches as unsupervised re-identification draws them (Ge et al., "SpCL", NeurIPS 2020).

    Cluster Contrast draws them so, too. Somebody's K images are one of them, drawn at random, and
    K - 1 of those that other cameras took; of all others where no other camera did. They are drawn
    with repetition where fewer than K are there to draw from.

    People come in shuffled epochs, of which the rest that fills no batch is dropped. A batch keeps
    its size where fewer than P people are labelled: they come again, in another order and in other
    images. A new round begins a new epoch, since its labels are new ones.

    Example: 7 people, P = 3, rounds of 5 steps. An epoch has 2 batches; the seventh person of each
    is dropped:

        step     0  1  2  3  4  5
        round    0  0  0  0  0  1
        epoch    0  0  1  1  2  0

    Args:
        labels: int64 [N], who is on each image, numbered from 0; images of -1 are in no batch.
        cameras: int64 [N].
        people: P of a batch.
        instances: K images of each.
        seed: of the run.
        every: steps in a round.

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
        known = labels >= 0
        if not known.any():
            raise ValueError(f"none of {len(labels)} images is labelled")
        super().__init__(labels[known], seed)
        self.labels, self.cameras = np.asarray(labels, np.int64), cameras
        self.people, self.instances, self.every = people, instances, every
        self._rows = rows_of_each(labels)

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        known = len(self._rows)
        round_number, step_of_round = divmod(step, self.every)
        epoch, batch = divmod(step_of_round, max(1, known // self.people))

        # The people of the epoch, several times where they are fewer than a batch holds.
        order = np.random.default_rng([self.seed, 0, round_number, epoch])
        times = -(-self.people // known)
        people = np.concatenate([order.permutation(known) for _ in range(times)])
        chosen = people[batch * self.people : (batch + 1) * self.people]

        rng = np.random.default_rng([self.seed, 1, step])
        rows = [self._draw(self._rows[person], rng) for person in chosen]
        return np.concatenate(rows), self.instances

    def _draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """K of somebody's images: a first one, and others of other cameras than the first one's."""
        first = rng.choice(rows)
        others = rows[self.cameras[rows] != self.cameras[first]]
        if not len(others):
            others = rows[rows != first] if len(rows) > 1 else rows
        repeats = len(others) < self.instances  # as published, though K - 1 would do
        return np.append(first, rng.choice(others, self.instances - 1, replace=repeats))
