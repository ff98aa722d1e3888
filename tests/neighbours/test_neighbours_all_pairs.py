"""The nearest rows of all rows against a full sort, and against the search for each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.neighbours import all_pairs, search
from cion_core.neighbours.arrays import unit


def cloud(seed: int, n: int, dim: int = 5) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 60),
    st.integers(0, 70),
    st.integers(1, 70),
    st.integers(1, 30),
)
def test_neighbours_equal_a_full_sort(seed: int, n: int, k: int, strip: int, piece: int) -> None:
    points = cloud(seed, n)
    similar = points.astype(float) @ points.T.astype(float)
    np.fill_diagonal(similar, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_pairs, "STRIP", strip)
        patch.setattr(all_pairs, "PIECE", piece)
        found = all_pairs.neighbours(points, k)
    assert found.dtype == np.int32
    assert found.tolist() == np.argsort(-similar, axis=1)[:, : k + 1].tolist()


def test_neighbours_equal_those_of_the_search() -> None:
    points = cloud(1, 2500, 16)
    assert np.array_equal(all_pairs.neighbours(points, 20), search.neighbours(points, 20))


def test_rows_in_an_order_that_gets_ever_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The far come first, so that each strip beats those before it: nothing but time is lost."""
    monkeypatch.setattr(all_pairs, "STRIP", 16)
    points = unit(cloud(2, 200) + np.float32([1, 0, 0, 0, 0]))
    points = points[np.argsort(points[:, 0])]
    similar = points.astype(float) @ points.T.astype(float)
    np.fill_diagonal(similar, 2)
    assert all_pairs.neighbours(points, 9).tolist() == np.argsort(-similar, axis=1)[:, :10].tolist()


def test_a_row_is_its_own_nearest_among_copies_and_these_are_in_order() -> None:
    points = np.repeat(cloud(0, 4), 5, axis=0)
    found = all_pairs.neighbours(points, 4)
    assert (
        found[:, 0].tolist() == list(range(20))
        and (np.sort(found) // 5 == np.arange(20)[:, None] // 5).all()
    )
    assert (np.diff(found[:, 1:]) > 0).all()
