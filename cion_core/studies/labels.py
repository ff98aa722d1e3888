"""How far identities agree with the truth, where the audit has told who is on which crop."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.audit.scores import against_truth

# Columns, and what pairs of each are counted.
F1 = {"f1_crops": "crops", "f1_tracklets": "tracklets"}


def read_people(data: Path) -> pd.DataFrame:
    """tables.People by the audit of `data`; no rows without truth."""
    return tables.read(tables.People, data / "audit/people.parquet")


def measure_agreement(
    crops: pd.DataFrame,
    identities: pd.DataFrame,
    data: Path,
) -> dict[str, float]:
    """F1 of pairs of crops and of tracklets, in percent.

    A crop without an identity makes no pair, but the pairs that it has by the truth are missed.

    Args:
        crops: tables.Crops of all that were to be labelled.
        identities: tables.Identities of those that were.
        data: the data folder with the truth.

    Returns:
        By the columns of F1; {} without truth.
    """
    person_of = read_people(data).set_index("crop").person
    if person_of.empty:
        return {}
    identity_of = identities.set_index("crop").identity
    labels = identity_of.reindex(crops.crop).fillna(-1).to_numpy(int)
    people = person_of.loc[crops.crop].to_numpy()
    scores = against_truth(crops, labels, people)
    return {column: round(100 * scores[pairs]["f1"], 2) for column, pairs in F1.items()}
