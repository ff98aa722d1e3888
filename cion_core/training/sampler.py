"""Which images meet at which step: identities × instances (P×K), computed from the step number alone.

There is no state to save or lose: resuming, or changing the number of workers, cannot pair different people.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from cion_core.training.schedules import phase


class Sampler(ABC):
    """Rows of each step, identity by identity. `labels` int64 [N] are those of all rows, numbered from 0."""

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        self.labels, self.counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
        self.seed = seed

    @abstractmethod
    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        """(rows int64 [B], K) of `step`: K rows of each identity, one identity after another."""


class IdentitySampler(Sampler):
    """By visits of all crops: batches of `batch` rows over a run of `steps`, K following `phases`.

    Epochs follow one another without a gap: a batch may end one and begin the next, so that no visit is dropped.
    `phases` [(fraction of the run, K)]: a new K starts a new epoch.
    """

    def __init__(self, labels: np.ndarray, batch: int, phases: list[tuple[float, int]], steps: int, seed: int) -> None:
        super().__init__(labels, seed)
        self.batch, self.phases, self.steps = batch, phases, steps
        self._plans: dict[tuple[int, int], np.ndarray] = {}  # the last two, for a batch may span them

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        number, first, instances = phase(self.phases, step, self.steps)
        length = int((-(-self.counts // instances)).sum())  # visits in an epoch
        begin, size = (step - first) * (self.batch // instances), self.batch // instances
        rows = []
        for epoch in range(begin // length, (begin + size - 1) // length + 1):
            a, b = max(begin - epoch * length, 0), begin + size - epoch * length
            rows.append(self._epoch(number, epoch)[a:b])
        return np.concatenate(rows).ravel(), instances

    def _epoch(self, number: int, epoch: int) -> np.ndarray:
        if (number, epoch) not in self._plans:
            self._plans = dict(list(self._plans.items())[-1:])
            rng = np.random.default_rng([self.seed, 0, number, epoch])
            self._plans[number, epoch] = plan(self.labels, self.phases[number][1], rng)
        return self._plans[number, epoch]


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


class PeopleSampler(Sampler):
    """By rounds of people: `people` (P) x `instances` (K) images a batch (Hermans et al. 2017, section 2).

    People come in shuffled rounds, so that each is seen equally often (±1). A person's images are drawn without
    repetition where there are at least K, and each ⌊K/n⌋ or ⌈K/n⌉ times where there are n < K.

    Raises:
        ValueError: fewer people are labelled than a batch holds.
    """

    def __init__(self, labels: np.ndarray, people: int, instances: int, seed: int) -> None:
        super().__init__(labels, seed)
        if len(self.counts) < people:
            raise ValueError(f"{people} people in a batch, but only {len(self.counts)} are labelled")
        self.people, self.instances = people, instances
        self._rows = np.split(np.argsort(self.labels, kind="stable"), np.cumsum(self.counts)[:-1])

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        count = len(self.counts)
        places = range(step * self.people, (step + 1) * self.people)
        chosen = [self._round(place // count)[place % count] for place in places]
        draws = np.random.default_rng([self.seed, 1, step])
        return np.concatenate([self._draw(self._rows[person], draws) for person in chosen]), self.instances

    def _round(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, number]).permutation(len(self.counts))

    def _draw(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        whole, rest = divmod(self.instances, len(rows))
        return np.concatenate([np.repeat(rows, whole), draws.permutation(rows)[:rest]])
