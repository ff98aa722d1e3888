"""Batches of P people x K images, each a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np


class PeopleSampler:
    """P x K batches over labelled images (Hermans et al. 2017, section 2).

    Args:
        labels: int [N], the class of each image.
        people: P, people in a batch.
        instances: K, images of each.
        seed: of every draw.

    People come in shuffled rounds, so that each is seen equally often (±1). A person's images are drawn without
    repetition where there are at least K, and each ⌊K/n⌋ or ⌈K/n⌉ times where there are n < K.
    """

    def __init__(self, labels: np.ndarray, people: int, instances: int, seed: int) -> None:
        self._rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if len(self._rows) < people:
            raise ValueError(f"{people} people in a batch, but only {len(self._rows)} are labelled")
        self.people, self.instances, self.seed = people, instances, seed

    def batch(self, step: int) -> np.ndarray:
        """Rows of the batch of `step`, int64 [P·K], person by person."""
        count = len(self._rows)
        places = np.arange(step * self.people, (step + 1) * self.people)
        chosen = [self._round(place // count)[place % count] for place in places]
        draws = np.random.default_rng([self.seed, 1, step])
        return np.concatenate([self._draw(self._rows[person], draws) for person in chosen])

    def _round(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, number]).permutation(len(self._rows))

    def _draw(self, rows: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        whole, rest = divmod(self.instances, len(rows))
        return np.concatenate([np.repeat(rows, whole), draws.permutation(rows)[:rest]])
