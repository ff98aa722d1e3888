"""How much neighbourhoods overlap: weighted Jaccard similarity of sparse rows, pair by pair.

The work is one large "group by and add up". For every column c, each two rows that both hold c add
min(weight of one, weight of the other) to the overlap of their pair. A pair of rows is written as
one whole number, its *key*, so that all additions of a block can be sorted at once:

    key of rows (i, j) = (i - first row of the block) * 2^bits + j,      2^bits > number of rows

Worked example, three rows over three columns, each row sums to 1:

    row 0: {0: 0.5, 1: 0.5}      row 1: {1: 1.0}      row 2: {0: 0.5, 2: 0.5}

    column 0 is held by rows 0 and 2: pair (0, 2) gets min(0.5, 0.5) = 0.5
    column 1 is held by rows 0 and 1: pair (0, 1) gets min(0.5, 1.0) = 0.5

    Jaccard of (0, 1) = shared / (size + size - shared) = 0.5 / (1 + 1 - 0.5) = 1/3, likewise of (0,
    2); pair (1, 2) shares no column, so it does not appear at all.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import run_starts, sorted_unique

# Additions that one block makes at most: bounds the memory of a thread.
ADDITIONS = 500_000

# A float32 from 0 to below 2 has its two highest bits zero, so it fits in 30 bits.
VALUE_BITS = 30
# What a signed 64-bit number has left for the key of a pair.
KEY_BITS = 63 - VALUE_BITS


class Overlap:
    """Weighted Jaccard similarity Σ min / Σ max of each two rows of a sparse matrix.

    Args:
        weights: float32 [n, n], no row empty, each weight from 0 to below 2.
        sizes: float32 [n], the sum of each row; None where each row sums to 1.
    """

    def __init__(self, weights: sparse.csr_matrix, sizes: np.ndarray | None = None) -> None:
        self.weights = weights
        self.sizes = sizes
        self.row_bits = weights.shape[0].bit_length()

        # by_column[c] lists the rows that hold column c, in ascending order.
        by_column = weights.T.tocsr()
        self._column_rows = by_column.indices
        self._column_weights = by_column.data

        # An entry (row, column) meets the rows below `row` that hold the same column. In by_column
        # these stand right behind the entry's own place, up to the end of the column.
        self._place_behind = np.empty(weights.nnz, np.int64)
        order_by_column = np.argsort(weights.indices, kind="stable")
        self._place_behind[order_by_column] = np.arange(1, weights.nnz + 1)
        column_ends = by_column.indptr[weights.indices + 1]
        self._meetings = column_ends - self._place_behind

    def blocks(self, stop: int | None = None, start: int = 0) -> list[slice]:
        """Cut the rows from `start` to `stop` (None: the last) into blocks of bounded memory.

        Returns:
            Consecutive slices of rows. A block makes about ADDITIONS additions, and has so few rows
            that its keys fit into KEY_BITS.
        """
        stop = self.weights.shape[0] if stop is None else stop
        if start >= stop:
            return []
        row_ends = self.weights.indptr[start : stop + 1]
        first_entry, last_entry = row_ends[0], row_ends[-1]
        meetings = self._meetings[first_entry:last_entry]
        per_row = np.add.reduceat(meetings, row_ends[:-1] - first_entry)
        additions_so_far = np.cumsum(per_row)

        full = np.arange(ADDITIONS, additions_so_far[-1], ADDITIONS)
        by_memory = start + np.searchsorted(additions_so_far, full, side="right")
        most_rows = 1 << KEY_BITS - self.row_bits
        by_key = np.arange(start, stop, most_rows)
        cuts = np.concatenate([by_memory, by_key, [stop]]).astype(np.int64)
        bounds = sorted_unique(cuts).tolist()
        return [slice(first, last) for first, last in itertools.pairwise(bounds)]

    def of(self, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Compare the rows of a block with all rows behind each.

        Returns:
            keys int64, sorted, each once (`rows_of` takes them apart), and similarities float32. A
            pair that shares no column is left out.
        """
        row_ends = self.weights.indptr[block.start : block.stop + 1]
        entries = slice(row_ends[0], row_ends[-1])
        meetings = self._meetings[entries]

        # One line for each addition: the entry of the row that stands first ...
        row_number = np.arange(len(row_ends) - 1, dtype=np.int64)
        entries_of_row = np.diff(row_ends)
        key_of_entry = np.repeat(row_number << self.row_bits, entries_of_row)
        key_of_first = np.repeat(key_of_entry, meetings)
        weight_of_first = np.repeat(self.weights.data[entries], meetings)

        # ... and the place in by_column of the row that stands second: a run of consecutive places.
        run_begin = np.cumsum(meetings) - meetings
        first_place = self._place_behind[entries]
        place_of_second = np.repeat(first_place - run_begin, meetings)
        place_of_second += np.arange(len(place_of_second))

        keys = key_of_first | self._column_rows[place_of_second]
        smaller = np.minimum(weight_of_first, self._column_weights[place_of_second])
        keys, shared = sum_by_key(keys, smaller)
        return keys, shared / self._larger(block, keys, shared)

    def _larger(self, block: slice, keys: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """Σ max of each pair, float32: both sizes less what is shared."""
        if self.sizes is None:
            return 2 - shared
        first, second = self.rows_of(block, keys)
        return self.sizes[first] + self.sizes[second] - shared

    def rows_of(self, block: slice, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The two rows of each key that `of` gave for this block, int64 each."""
        first = (keys >> self.row_bits) + block.start
        low_bits = (1 << self.row_bits) - 1
        second = keys & low_bits
        return first, second

    def pairs(self, stop: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compare all rows (or those before `stop`) with the rows behind each.

        Returns:
            first rows int64, second rows int64, similarities float32.
        """
        found = []
        for block in self.blocks(stop):
            keys, similarity = self.of(block)
            found.append((*self.rows_of(block, keys), similarity))
        first, second, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
        return first, second, similarity


class Jaccard:
    """Jaccard similarity of neighbourhoods of any encoding, computed when it is asked for.

    Args:
        neighbourhoods: float32 [n, n], as `k_reciprocal.neighbourhoods` makes them.
    """

    def __init__(self, neighbourhoods: sparse.csr_matrix) -> None:
        row_sums = np.asarray(neighbourhoods.sum(1)).ravel()
        self._overlap = Overlap(neighbourhoods, row_sums)

    def blocks(self, rows: slice) -> list[slice]:
        """Cut rows (start and stop given) into blocks for `of` that take little memory each."""
        return self._overlap.blocks(rows.stop, rows.start)

    def of(self, block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Similarities of a block's rows to all rows behind each.

        Returns:
            first rows int64, second rows int64, similarities float32; a pair that is missing has 0.
        """
        keys, similarity = self._overlap.of(block)
        return *self._overlap.rows_of(block, keys), similarity


def sum_by_key(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the values of equal keys.

    Key and value are packed into one whole number and sorted together, which takes a fraction of
    the time that a sparse matrix takes to add up. The bits of a float of 0 and more, read as a
    whole number, keep the floats' order, so the values of a key come out from the smallest on.

    Example: keys [7, 3, 7], values [0.5, 0.25, 1.0] give keys [3, 7], sums [0.25, 1.5].

    Args:
        keys: int64, from 0 to below 2^KEY_BITS.
        values: float32, from 0 to below 2.

    Returns:
        keys int64, sorted, each once; sums float32, added from the smallest value on.
    """
    packed = keys << VALUE_BITS | values.view(np.int32)
    packed.sort()
    begin = run_starts(packed >> VALUE_BITS)
    low_bits = (1 << VALUE_BITS) - 1
    values = (packed & low_bits).astype(np.int32).view(np.float32)
    if not len(begin):
        return packed, values
    each_key = packed[begin] >> VALUE_BITS
    return each_key, np.add.reduceat(values, begin)
