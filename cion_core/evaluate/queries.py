"""What each query scored, as a table: so that two models can be paired without running either again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.errors import CionError
from cion_core.evaluate.metrics import Scores


def table(scores: Scores, path: np.ndarray, person: np.ndarray) -> pd.DataFrame:
    """tables.Queries of the scores of queries [Q]; `path` and `person` of each, in their order."""
    return pd.DataFrame({"query": path, "person": person, "ap": scores.ap, "inp": scores.inp, "first": scores.first})


def scores(queries: pd.DataFrame) -> Scores:
    """The scores again of a tables.Queries, in its order."""
    return Scores(*(queries[name].to_numpy() for name in ("ap", "inp", "first")))


def aligned(one: pd.DataFrame, other: pd.DataFrame) -> tuple[Scores, Scores, np.ndarray]:
    """Scores of two tables.Queries in one order of queries, and who is on each, as `certainty.paired` takes them.

    CionError names the first query that only one of them has, or that has something to find for only one of them.
    """
    one, other = (queries.set_index("query").sort_index() for queries in (one, other))
    only = one.index.symmetric_difference(other.index)
    if len(only):
        raise CionError(f"{only[0]}: a query of one model and not of the other ({len(only)} such); evaluate both anew")
    differ = one.index[(one["first"] > 0) != (other["first"] > 0)]
    if len(differ):
        raise CionError(
            f"{differ[0]}: has something to find for one model only ({len(differ)} such queries); evaluate both anew"
        )
    return scores(one), scores(other), one["person"].to_numpy()
