"""Which images meet at which step: identities × instances (P×K), computed from the step number
alone.

There is no state to save or lose: resuming, or changing the number of workers, cannot pair
different people.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right

import numpy as np

from cion_core.training.schedules import phase


class Sampler(ABC):
    """Rows of each step, identity by identity.

    `labels` int64 [N] are those of all rows, numbered from 0.
    """

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        self.labels, self.counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
        self.seed = seed

    @abstractmethod
    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        """(rows int64 [B], K) of `step`: K rows of each identity, one identity after another."""


class IdentitySampler(Sampler):
    """By visits of all crops: batches of `batch` rows over a run of `steps`, K following `phases`.

    Epochs follow one another without a gap: a batch may end one and begin the next, so that no
    visit is dropped. `phases` [(fraction of the run, K)]: a new K starts a new epoch.
    """

    def __init__(
        self, labels: np.ndarray, batch: int, phases: list[tuple[float, int]], steps: int, seed: int
    ) -> None:
        super().__init__(labels, seed)
        self.batch, self.phases, self.steps = batch, phases, steps
        self._plans: dict[
            tuple[int, int], np.ndarray
        ] = {}  # the last two, for a batch may span them

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

    `labels` int [N], the identity of each crop. An identity of n >= K crops is visited ⌈n/K⌉ times
    and shows each crop once or twice, never twice in one visit; a smaller one is visited once and
    shows each crop ⌊K/n⌋ or ⌈K/n⌉ times. Nothing is dropped.
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
    """By rounds of people: `people` (P) x `instances` (K) images a batch (Hermans et al. 2017,
    section 2).

    People come in shuffled rounds, so that each is seen equally often (±1). A person's images are
    drawn without repetition where there are at least K, and each ⌊K/n⌋ or ⌈K/n⌉ times where there
    are n < K.

    Raises:
        ValueError: fewer people are labelled than a batch holds.
    """

    def __init__(self, labels: np.ndarray, people: int, instances: int, seed: int) -> None:
        super().__init__(labels, seed)
        if len(self.counts) < people:
            raise ValueError(
                f"{people} people in a batch, but only {len(self.counts)} are labelled"
            )
        self.people, self.instances = people, instances
        self._rows = np.split(np.argsort(self.labels, kind="stable"), np.cumsum(self.counts)[:-1])

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        count = len(self.counts)
        places = range(step * self.people, (step + 1) * self.people)
        chosen = [self._round(place // count)[place % count] for place in places]
        draws = np.random.default_rng([self.seed, 1, step])
        return np.concatenate(
            [self._draw(self._rows[person], draws) for person in chosen]
        ), self.instances

    def _round(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, number]).permutation(len(self.counts))

    def _draw(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        whole, rest = divmod(self.instances, len(rows))
        return np.concatenate([np.repeat(rows, whole), draws.permutation(rows)[:rest]])


class ChunkSampler(Sampler):
    """By epochs of chunks, as the published fine-tuning recipes draw: `people` (P) x `instances`
    (K) images a batch.

    In each epoch everybody's images are shuffled and cut into chunks of K, what is left of them
    being dropped; somebody of fewer than K images has one chunk, drawn from them with repetition. A
    batch is a chunk of each of P people, drawn from those who have one left; the epoch ends where
    fewer than P do. So epochs differ a little in length.

    labels int64 [N], numbered from 0; images of -1 are in no batch.

    Raises:
        ValueError: fewer people are labelled than a batch holds.
    """

    def __init__(self, labels: np.ndarray, people: int, instances: int, seed: int) -> None:
        known = np.flatnonzero(labels >= 0)
        super().__init__(labels[known], seed)
        self.labels = np.asarray(labels, np.int64)
        if len(self.counts) < people:
            raise ValueError(
                f"{people} people in a batch, but only {len(self.counts)} are labelled"
            )
        self.people, self.instances = people, instances
        self._rows = np.split(
            known[np.argsort(labels[known], kind="stable")], np.cumsum(self.counts)[:-1]
        )
        self._begins = [0]  # the first step of each epoch that is known so far, and of the next
        self._plans: dict[int, np.ndarray] = {}  # the last two

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        epoch = self.epoch(step)
        return self._plan(epoch)[step - self._begins[epoch]], self.instances

    def epoch(self, step: int) -> int:
        """The number of the epoch that `step` is in, from 0."""
        while self._begins[-1] <= step:
            self.begin(len(self._begins))
        return bisect_right(self._begins, step) - 1

    def begin(self, epoch: int) -> int:
        """The first step of `epoch`."""
        while len(self._begins) <= epoch:
            self._begins.append(self._begins[-1] + len(self._plan(len(self._begins) - 1)))
        return self._begins[epoch]

    def _plan(self, epoch: int) -> np.ndarray:
        """The rows of the batches of an epoch, int64 [steps, P * K]."""
        if epoch not in self._plans:
            self._plans = dict(list(self._plans.items())[-1:])
            self._plans[epoch] = self._draw(np.random.default_rng([self.seed, 0, epoch]))
        return self._plans[epoch]

    def _draw(self, draws: np.random.Generator) -> np.ndarray:
        chunks = [self._chunks(rows, draws) for rows in self._rows]
        left = np.array([len(own) for own in chunks])
        batches = []
        while len(waiting := np.flatnonzero(left)) >= self.people:
            chosen = draws.choice(waiting, self.people, replace=False)
            left[chosen] -= 1
            batches.append(np.concatenate([chunks[person][left[person]] for person in chosen]))
        return np.array(batches)

    def _chunks(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        if len(rows) < self.instances:
            return draws.choice(rows, (1, self.instances))
        whole = len(rows) // self.instances
        return draws.permutation(rows)[: whole * self.instances].reshape(whole, self.instances)


class DealtSampler(ChunkSampler):
    """Chunks whose batches are dealt out like cards to `groups`, one after another, each of all
    people.

    Published recipes ran on several GPUs, image i of a batch on GPU i modulo their number. So each
    GPU, whose batch norms went by its own images, had instances / groups images of each person, and
    not a few people whole.

    Example: two people with four images, a0 to a3 and b0 to b3, in two groups: a0 a2 b0 b2, a1 a3
    b1 b3.

    The K that a step returns is that within a group. `groups` must divide `instances`.
    """

    def __init__(
        self, labels: np.ndarray, people: int, instances: int, seed: int, groups: int
    ) -> None:
        super().__init__(labels, people, instances, seed)
        self.groups = groups

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        rows, instances = super().__call__(step)
        return rows.reshape(-1, self.groups).T.ravel(), instances // self.groups
