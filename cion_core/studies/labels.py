"""How far identities agree with the truth, where the audit has told who is on which crop."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.audit.scores import against_truth

F1 = {"f1_crops": "crops", "f1_tracklets": "tracklets"}  # columns, and what pairs of each are counted


def people(data: Path) -> pd.DataFrame:
    """tables.People by the audit of `data`; no rows without truth."""
    return tables.read(tables.People, data / "audit/people.parquet")


def agreement(crops: pd.DataFrame, identities: pd.DataFrame, data: Path) -> dict[str, float]:
    """F1 of pairs of crops and of tracklets, in percent; {} without truth.

    crops: all that were to be labelled; identities: tables.Identities of those that were. A crop without an identity
    makes no pair, but the pairs that it has by the truth are missed.
    """
    known = people(data).set_index("crop").person
    if known.empty:
        return {}
    labels = identities.set_index("crop").identity.reindex(crops.crop).fillna(-1).to_numpy(int)
    found = against_truth(crops, labels, known.loc[crops.crop].to_numpy())
    return {column: round(100 * found[over]["f1"], 2) for column, over in F1.items()}
