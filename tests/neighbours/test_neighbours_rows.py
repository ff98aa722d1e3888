"""Features read where they lie against all of them in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cion_core.neighbours.arrays import unit
from cion_core.neighbours.rows import Rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_rows_are_the_unit_features_in_their_order(
    tmp_path: Path, dtype: type, shuffled: bool, measured: bool
) -> None:
    rng = np.random.default_rng(0)
    given = (rng.normal(size=(40, 8)) * rng.uniform(0.1, 9, (40, 1))).astype(dtype)
    np.save(tmp_path / "features.npy", given)
    order = rng.permutation(40) if shuffled else None
    lengths = np.linalg.norm(given.astype(np.float32), axis=1)
    rows = Rows(
        np.load(tmp_path / "features.npy", mmap_mode="r"), lengths if measured else None, order
    )
    expected = unit(given)[np.arange(40) if order is None else order]
    assert len(rows) == len(expected) and rows.shape == expected.shape
    for part in (slice(None), slice(5, 9), np.array([7, 3, 3]), np.arange(40) % 3 == 0):
        assert rows[part].dtype == np.float32
        np.testing.assert_array_equal(rows[part], expected[part])
