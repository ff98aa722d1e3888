"""Scores of queries as a table, and back, and two of them side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core import tables
from cion_core.errors import CionError
from cion_core.evaluate import queries
from cion_core.evaluate.certainty import paired
from cion_core.evaluate.metrics import Scores

SCORES = Scores(np.array([0.5, np.nan, 1.0]), np.array([0.25, np.nan, 1.0]), np.array([2, 0, 1]))


def table(scores: Scores = SCORES, paths: str = "cab") -> pd.DataFrame:
    return queries.to_table(scores, np.array(list(paths), object), np.array([7, 8, 9]))


def test_scores_come_back_from_the_file(tmp_path: Path) -> None:
    tables.write(tables.Queries, table(), tmp_path / "queries.parquet")
    read = tables.read(tables.Queries, tmp_path / "queries.parquet")
    got = queries.from_table(read)
    for name in ("ap", "inp", "first"):
        assert np.array_equal(getattr(got, name), getattr(SCORES, name), equal_nan=True)
    assert read["query"].tolist() == ["c", "a", "b"] and read.person.tolist() == [7, 8, 9]
    assert got.summary() == SCORES.summary()


def test_two_are_brought_into_one_order() -> None:
    """The same queries in another order are no difference; persons stay with their queries."""
    turned = table().iloc[::-1]
    one, other, person = queries.align(table(), turned)
    assert person.tolist() == [8, 9, 7] and one.first.tolist() == other.first.tolist() == [0, 1, 2]
    assert paired(one, other, person)["mAP"]["difference"] == 0


def test_two_of_different_queries_are_refused() -> None:
    with pytest.raises(CionError, match=r"b: a query of one model and not of the other \(2 such\)"):
        queries.align(table(), table(paths="cad"))
    found = Scores(np.array([0.5, 0.5, 1]), np.array([0.5, 0.5, 1]), np.array([2, 2, 1]))
    with pytest.raises(
        CionError, match=r"a: has something to find for one model only \(1 such queries\)"
    ):
        queries.align(table(), table(found))
