"""Pairs of nodes: as sorted keys, which answer for many pairs at once; and sums over pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import sorted_unique


@dataclass(frozen=True)
class PairKeys:
    """A set of pairs (i, j), i < j, of `count` nodes.

    A pair is one whole number, i * count + j: with 10 nodes the pair (2, 7) is 27.

    Attributes:
        keys: int64 [P], sorted.
        count: how many nodes there are.
    """

    keys: np.ndarray
    count: int

    @classmethod
    def of(cls, pairs: sparse.csr_matrix | None, count: int) -> PairKeys:
        """The pairs of a symmetric matrix, bool [count, count]; None: no pair."""
        if pairs is None:
            return cls(np.empty(0, np.int64), count)
        upper = sparse.triu(pairs, 1, "coo")
        keys = upper.row.astype(np.int64) * count + upper.col
        return cls(np.sort(keys), count)

    @property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the higher node of each pair, int64 [P] each."""
        return self.keys // self.count, self.keys % self.count

    def renamed(self, names: np.ndarray) -> PairKeys:
        """The pairs with node k called names[k], each once."""
        low, high = self._nodes
        i, j = names[low], names[high]
        keys = np.minimum(i, j) * self.count + np.maximum(i, j)
        return PairKeys(sorted_unique(keys), self.count)

    def among(self, chosen: np.ndarray) -> PairKeys:
        """Those pairs of which both nodes are chosen, bool [count]."""
        low, high = self._nodes
        both = chosen[low] & chosen[high]
        return PairKeys(self.keys[both], self.count)

    def with_pairs(self, i: np.ndarray, j: np.ndarray) -> PairKeys:
        """With further pairs, i < j."""
        more = i.astype(np.int64) * self.count + j
        return PairKeys(np.sort(np.append(self.keys, more)), self.count)

    def contains(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Which of the pairs i, j (i < j) are in the set, bool [len(i)]."""
        wanted = i.astype(np.int64) * self.count + j
        place = np.searchsorted(self.keys, wanted)
        found = place < len(self.keys)
        found[found] = self.keys[place[found]] == wanted[found]
        return found


def sum_over_names(
    pairs: sparse.coo_matrix, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rename the nodes of pairs, and add up the values of pairs that become one.

    A pair whose two nodes get one name is left out.

    Args:
        pairs: [n, n], one entry for each pair of nodes.
        names: int [n], the new name of each node, in 0..n-1.

    Returns:
        i and j, i < j, and the sums float64.
    """
    i, j = names[pairs.row], names[pairs.col]
    differ = i != j
    low = np.minimum(i, j)[differ]
    high = np.maximum(i, j)[differ]
    values = pairs.data[differ].astype(np.float64)
    # SciPy adds up equal places when it turns a list of entries into rows.
    sums = sparse.coo_matrix((values, (low, high)), shape=pairs.shape).tocsr().tocoo()
    return sums.row, sums.col, sums.data
