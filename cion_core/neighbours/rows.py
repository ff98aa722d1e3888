"""Features of any size: read from where they lie, and only what is asked for."""

from __future__ import annotations

import numpy as np


class Rows:
    """The unit features of a table's crops, without a copy of them all.

    `rows[i]`, with i a slice, indices or a mask, is float32 [n, D] of unit length.

    Args:
        given: [N, D], an array or memmap of any float type and scale.
        lengths: float32 [N], the lengths of its rows, none zero; None: measured when read.
        order: int [N], where in `given` the table's rows lie; None: in the same order.
    """

    def __init__(
        self, given: np.ndarray, lengths: np.ndarray | None = None, order: np.ndarray | None = None
    ) -> None:
        self.given = given
        self.lengths = lengths
        self.order = order
        self.shape = given.shape

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if self.order is not None:
            rows = self.order[rows]
        values = np.array(self.given[rows], np.float32)
        if self.lengths is None:
            values /= np.linalg.norm(values, axis=1, keepdims=True)
        else:
            values /= self.lengths[rows, None]
        return values
