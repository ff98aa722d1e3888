"""Which images of a cluster meet: those of other cameras first, by the step's number alone."""

from __future__ import annotations

import numpy as np

from cion_core.training.sampler import Sampler


class CameraSampler(Sampler):
    """P people x K images a batch, as unsupervised re-identification draws them.

    So does SpCL (Ge et al., NeurIPS 2020), and Cluster Contrast after it. Somebody's K images are
    one of them, drawn at random, and K - 1 of those that other cameras took; of all others where no
    other camera did. They are drawn with repetition where fewer than K are there to draw from.

    People come in shuffled epochs, of which the rest that fills no batch is dropped. A batch keeps
    its size where fewer than P people are labelled: they come again, in another order and in other
    images. A new round begins a new epoch, since its labels are new ones.

    Args:
        labels: int64 [N], numbered from 0; images of -1 are in no batch.
        cameras: int64 [N].
        people: P.
        instances: K.
        seed: of the run.
        every: steps of a round.

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
        by_person = known[np.argsort(labels[known], kind="stable")]
        self._rows = np.split(by_person, np.cumsum(self.counts)[:-1])

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        # 1. The place of the step: in its round, and in the round's epoch.
        count = len(self._rows)
        round_, step_of_round = divmod(step, self.every)
        epoch, batch = divmod(step_of_round, max(1, count // self.people))

        # 2. People: in the epoch's order, or in several orders where a batch holds more than all.
        orders = np.random.default_rng([self.seed, 0, round_, epoch])
        how_often = -(-self.people // count)
        people = np.concatenate([orders.permutation(count) for _ in range(how_often)])
        chosen = people[batch * self.people : (batch + 1) * self.people]

        # 3. Their images.
        draws = np.random.default_rng([self.seed, 1, step])
        rows = [self._draw(self._rows[person], draws) for person in chosen]
        return np.concatenate(rows), self.instances

    def _draw(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """K of somebody's images, the first one being what the others are told from."""
        first = draws.choice(rows)
        others = rows[self.cameras[rows] != self.cameras[first]]
        if not len(others):
            others = rows[rows != first] if len(rows) > 1 else rows
        # As published, though K - 1 would do.
        again = len(others) < self.instances
        return np.append(first, draws.choice(others, self.instances - 1, replace=again))
