"""Which images of a cluster meet: those of other cameras first.

It is computed from the number of the step alone.
"""

from __future__ import annotations

import numpy as np

from cion_core.training.sampler import Sampler, rows_of_each


class CameraSampler(Sampler):
    """Batches as unsupervised re-identification draws them (Ge et al., "SpCL", NeurIPS 2020).

    Cluster Contrast draws them so, too. Of a person it takes K images: a first one at random, then
    K - 1 from other cameras. If no other camera saw the person, these are from the first one's
    camera. Where there are too few to draw from, some are drawn twice.

    People come in shuffled passes; the rest of a pass that fills no batch is dropped. A batch keeps
    its size where fewer than P people are labelled: they come again, in another order and in other
    images. A new round begins a new pass, since its labels are new ones.

    Example: 7 people, P = 3, rounds of 5 steps. A pass has 2 batches; the seventh person of each
    is dropped:

        step     0  1  2  3  4  5
        round    0  0  0  0  0  1
        pass     0  0  1  1  2  0

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
        self.labels = np.asarray(labels, np.int64)
        self.cameras = cameras
        self.people = people
        self.instances = instances
        self.every = every
        self._rows = rows_of_each(labels)

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        known = len(self._rows)
        batches_of_pass = max(1, known // self.people)
        round_number, step_of_round = divmod(step, self.every)
        pass_number, batch = divmod(step_of_round, batches_of_pass)

        # The people of the pass, several times where they are fewer than a batch holds.
        order = np.random.default_rng([self.seed, 0, round_number, pass_number])
        times = -(-self.people // known)
        people = np.concatenate([order.permutation(known) for _ in range(times)])
        chosen = people[batch * self.people : (batch + 1) * self.people]

        rng = np.random.default_rng([self.seed, 1, step])
        rows = [self._draw(self._rows[person], rng) for person in chosen]
        return np.concatenate(rows), self.instances

    def _draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """K of a person's images: a first one, and others of other cameras than the first one's."""
        first = rng.choice(rows)
        others = rows[self.cameras[rows] != self.cameras[first]]
        if not len(others):
            others = rows[rows != first] if len(rows) > 1 else rows
        repeats = len(others) < self.instances  # as published, though K - 1 would do
        return np.append(first, rng.choice(others, self.instances - 1, replace=repeats))
