"""Which crops meet at which step: G identities × K instances, computed from the step number alone.

There is no state to save or lose: resuming, or changing the number of workers, cannot pair different people.
"""

from __future__ import annotations

import numpy as np

from cion_core.training.schedules import phase


def plan(labels: np.ndarray, instances: int, rng: np.random.Generator) -> np.ndarray:
    """One epoch: rows of crops [visits, K], each visit K crops of one identity, in random order.

    `labels` int [N], the identity of each crop. An identity of n >= K crops is visited ⌈n/K⌉ times and shows each
    crop once or twice, never twice in one visit; a smaller one is visited once and shows each crop ⌊K/n⌋ or ⌈K/n⌉
    times. Nothing is dropped.
    """
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    visits = -(-counts // instances)
    identity = np.repeat(np.arange(len(counts)), visits)
    nth = np.arange(len(identity)) - np.repeat(np.cumsum(visits) - visits, visits)
    slot = nth[:, None] * instances + np.arange(instances)
    rows = order[starts[identity, None] + slot % counts[identity, None]]
    return rows[rng.permutation(len(rows))]


class IdentitySampler:
    """Batches of `batch` rows over a run of `steps`, identity by identity, K following `phases`.

    Epochs follow one another without a gap: a batch may end one and begin the next, so that no visit is dropped.
    `phases` [(fraction of the run, K)]: a new K starts a new epoch.
    """

    def __init__(self, labels: np.ndarray, batch: int, phases: list[tuple[float, int]], steps: int, seed: int) -> None:
        self.labels, self._counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
        self.batch, self.phases, self.steps, self.seed = batch, phases, steps, seed
        self._plans: dict[tuple[int, int], np.ndarray] = {}  # the last two, for a batch may span them

    def _epoch(self, number: int, epoch: int) -> np.ndarray:
        if (number, epoch) not in self._plans:
            self._plans = dict(list(self._plans.items())[-1:])
            rng = np.random.default_rng([self.seed, 0, number, epoch])
            self._plans[number, epoch] = plan(self.labels, self.phases[number][1], rng)
        return self._plans[number, epoch]

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        """(rows int64 [batch], K) of `step`."""
        number, first, instances = phase(self.phases, step, self.steps)
        length = int((-(-self._counts // instances)).sum())  # visits in an epoch
        begin, size = (step - first) * (self.batch // instances), self.batch // instances
        rows = []
        for epoch in range(begin // length, (begin + size - 1) // length + 1):
            a, b = max(begin - epoch * length, 0), begin + size - epoch * length
            rows.append(self._epoch(number, epoch)[a:b])
        return np.concatenate(rows).ravel(), instances
