"""Which images meet at which step: identities × instances (P×K).

It is computed from the number of the step alone. There is no state to save or lose: neither a
resume nor another number of workers can pair different people.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right

import numpy as np

from cion_core.training.schedules import phase_at


class Sampler(ABC):
    """Rows of each step, identity by identity.

    Attributes:
        labels: int64 [N], the identity of each row, numbered from 0.
        counts: int64 [I], rows of each identity.
    """

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        _, self.labels, self.counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.seed = seed

    @abstractmethod
    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        """(rows int64 [B], K) of `step`: K rows of each identity, one identity after another."""


class IdentitySampler(Sampler):
    """By visits: in an epoch each identity is visited often enough to show all its crops.

    Epochs follow one another without a gap. A batch may end one and begin the next, so that no
    visit is dropped. With 5 visits in an epoch and 2 in a batch:

        step       0      1      2        3      4
        visits     0 1    2 3    4 | 0    1 2    3 4

    Args:
        labels: [N], the identity of each crop.
        batch: rows of a step; a multiple of every K.
        phases: [(fraction of the run from which on, K)]; a new K starts a new epoch.
        steps: of the run.
        seed: of the run.
    """

    def __init__(
        self, labels: np.ndarray, batch: int, phases: list[tuple[float, int]], steps: int, seed: int
    ) -> None:
        super().__init__(labels, seed)
        self.batch, self.phases, self.steps = batch, phases, steps
        # The last two epochs by (phase, epoch), for a batch may span them.
        self._epochs: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        phase, first_step, instances = phase_at(self.phases, step, self.steps)
        epoch_visits = int((-(-self.counts // instances)).sum())
        batch_visits = self.batch // instances

        # Visits are counted from the beginning of the phase.
        begin = (step - first_step) * batch_visits
        end = begin + batch_visits
        first_epoch, last_epoch = begin // epoch_visits, (end - 1) // epoch_visits
        rows = []
        for epoch in range(first_epoch, last_epoch + 1):
            epoch_begin = epoch * epoch_visits
            own = slice(max(begin - epoch_begin, 0), end - epoch_begin)
            rows.append(self._epoch(phase, epoch)[own])
        return np.concatenate(rows).ravel(), instances

    def _epoch(self, phase: int, epoch: int) -> np.ndarray:
        if (phase, epoch) not in self._epochs:
            self._epochs = dict(list(self._epochs.items())[-1:])
            rng = np.random.default_rng([self.seed, 0, phase, epoch])
            _, instances = self.phases[phase]
            self._epochs[phase, epoch] = draw_epoch(self.labels, instances, rng)
        return self._epochs[phase, epoch]


def draw_epoch(labels: np.ndarray, instances: int, rng: np.random.Generator) -> np.ndarray:
    """One epoch of visits in random order, each of K crops of one identity.

    An identity of n >= K crops is visited ⌈n/K⌉ times and shows each crop once or twice, never
    twice in one visit. A smaller one is visited once and shows each crop ⌊K/n⌋ or ⌈K/n⌉ times.
    Nothing is dropped. With K = 4, the shuffled crops a to f of one identity and x y z of another:

        a b c d | e f a b | x y z x

    Args:
        labels: int [N], the identity of each crop, from 0 without a gap.
        instances: K.
        rng: by which crops and visits are shuffled.

    Returns:
        Rows of crops, int64 [visits, K].
    """
    # Crops identity by identity, shuffled inside of each.
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    starts = np.cumsum(counts) - counts  # of each identity in `order`

    # Each visit's identity, and its number among the visits of that identity.
    visits = -(-counts // instances)
    identity = np.repeat(np.arange(len(counts)), visits)
    first_visits = np.cumsum(visits) - visits
    nth = np.arange(len(identity)) - np.repeat(first_visits, visits)

    # Its crops: K further ones of the identity, from the first one again after the last.
    place = nth[:, None] * instances + np.arange(instances)
    place = place % counts[identity, None]
    rows = order[starts[identity, None] + place]
    return rows[rng.permutation(len(rows))]


def rows_of_each(labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each label >= 0, by label: int64 each. Rows of -1 are left out."""
    known = np.flatnonzero(labels >= 0)
    _, counts = np.unique(labels[known], return_counts=True)
    by_label = known[np.argsort(labels[known], kind="stable")]
    return np.split(by_label, np.cumsum(counts)[:-1])


class ChunkSampler(Sampler):
    """By epochs of chunks, as the published fine-tuning recipes draw.

    In each epoch everybody's images are shuffled and cut into chunks of K; what is left over is
    dropped. Somebody of fewer than K images has one chunk, drawn from them with repetition. A batch
    is a chunk of each of P people, drawn from those who have one left. The epoch ends where fewer
    than P have. So epochs differ a little in length.

    Args:
        labels: int64 [N], who is on each image, numbered from 0; images of -1 are in no batch.
        people: P of a batch.
        instances: K images of each.
        seed: of the run.

    Raises:
        ValueError: fewer people are labelled than a batch holds.
    """

    def __init__(self, labels: np.ndarray, people: int, instances: int, seed: int) -> None:
        super().__init__(labels[labels >= 0], seed)
        self.labels = np.asarray(labels, np.int64)
        if len(self.counts) < people:
            raise ValueError(
                f"{people} people in a batch, but only {len(self.counts)} are labelled"
            )
        self.people, self.instances = people, instances
        self._rows = rows_of_each(labels)
        self._begins = [0]  # the first step of each epoch that is known so far, and of the next
        self._epochs: dict[int, np.ndarray] = {}  # the batches of the last two

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        epoch = self.epoch(step)
        place = step - self._begins[epoch]
        return self._batches(epoch)[place], self.instances

    def epoch(self, step: int) -> int:
        """The number of the epoch that `step` is in, from 0."""
        while self._begins[-1] <= step:
            self.first_step(len(self._begins))
        return bisect_right(self._begins, step) - 1

    def first_step(self, epoch: int) -> int:
        """The first step of `epoch`."""
        while len(self._begins) <= epoch:
            last = len(self._begins) - 1
            self._begins.append(self._begins[last] + len(self._batches(last)))
        return self._begins[epoch]

    def _batches(self, epoch: int) -> np.ndarray:
        """The rows of the batches of an epoch, int64 [steps, P * K]."""
        if epoch not in self._epochs:
            self._epochs = dict(list(self._epochs.items())[-1:])
            rng = np.random.default_rng([self.seed, 0, epoch])
            self._epochs[epoch] = self._draw_epoch(rng)
        return self._epochs[epoch]

    def _draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        chunks = [self._draw_chunks(rows, rng) for rows in self._rows]
        left = np.array([len(own) for own in chunks])
        batches = []
        while len(waiting := np.flatnonzero(left)) >= self.people:
            chosen = rng.choice(waiting, self.people, replace=False)
            left[chosen] -= 1
            batch = [chunks[person][left[person]] for person in chosen]
            batches.append(np.concatenate(batch))
        return np.array(batches)

    def _draw_chunks(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Somebody's images in chunks, int64 [chunks, K]."""
        if len(rows) < self.instances:
            return rng.choice(rows, (1, self.instances))
        count = len(rows) // self.instances
        used = rng.permutation(rows)[: count * self.instances]
        return used.reshape(count, self.instances)


class DealtSampler(ChunkSampler):
    """Chunks whose batches are dealt out to groups like cards, so that each has all people.

    Published recipes ran on several GPUs, image i of a batch on GPU i modulo their number. So each
    GPU, whose batch norms went by its own images, had instances / groups images of each person, and
    not a few people whole.

    Example: two people with four images, a0 to a3 and b0 to b3, in two groups:

        a0 a2 b0 b2 | a1 a3 b1 b3

    The K that a step returns is that within a group.

    Args:
        labels, people, instances, seed: as of `ChunkSampler`.
        groups: how many; it must divide `instances`.
    """

    def __init__(
        self, labels: np.ndarray, people: int, instances: int, seed: int, groups: int
    ) -> None:
        super().__init__(labels, people, instances, seed)
        self.groups = groups

    def __call__(self, step: int) -> tuple[np.ndarray, int]:
        rows, instances = super().__call__(step)
        dealt = rows.reshape(-1, self.groups).T
        return dealt.ravel(), instances // self.groups
