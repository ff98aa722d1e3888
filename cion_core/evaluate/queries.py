"""What each query scored, as a table, so that two models can be paired without another run."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd

from cion_core.errors import CionError
from cion_core.evaluate.metrics import Scores


def to_table(scores: Scores, path: np.ndarray, person: np.ndarray) -> pd.DataFrame:
    """Make a tables.Queries of scores.

    Args:
        scores: of Q queries.
        path: text [Q], of their images.
        person: int [Q].
    """
    return pd.DataFrame({"query": path, "person": person, **vars(scores)})


def from_table(queries: pd.DataFrame) -> Scores:
    """The scores of a tables.Queries, in its order."""
    columns = {field.name: queries[field.name].to_numpy() for field in fields(Scores)}
    return Scores(**columns)


def align(one: pd.DataFrame, other: pd.DataFrame) -> tuple[Scores, Scores, np.ndarray]:
    """Bring the scores of two models into one order of queries, as `certainty.paired` takes them.

    Args:
        one: a tables.Queries.
        other: the same queries of another model.

    Returns:
        The scores of both, and who is on each query, int [Q].

    Raises:
        CionError: a query that only one has, or that has something to find for only one.
    """
    one = one.set_index("query").sort_index()
    other = other.set_index("query").sort_index()
    only_one = one.index.symmetric_difference(other.index)
    if len(only_one):
        raise CionError(
            f"{only_one[0]}: a query of one model and not of the other ({len(only_one)} such); "
            "evaluate both anew"
        )
    finds, other_finds = one["first"] > 0, other["first"] > 0
    differ = one.index[finds != other_finds]
    if len(differ):
        raise CionError(
            f"{differ[0]}: has something to find for one model only ({len(differ)} such queries); "
            "evaluate both anew"
        )
    return from_table(one), from_table(other), one["person"].to_numpy()
