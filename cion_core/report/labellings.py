"""What denoising made of the crops: the labelling after each level, and who is seen how often."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.pretrain.sightings import sightings
from cion_core.report.comparison import load_json


def describe_labellings(root: Path) -> list[dict]:
    """The four labellings of the crops: as tracked, then after each level.

    Returns:
        A row each:

        - `level`: its name; None for the tracklets.
        - `crops`, `identities`: how many.
        - `noise`: {outside, close_pairs}; None where the level has no such threshold.
        - `truth`: fractions by kind of pair; None without truth.
        - `audit`: the level's audit.json; None for the tracklets.
    """
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    audits = [load_json(root / "denoise" / level / "audit.json") for level in tables.LEVELS]
    truth = load_json(root / "audit/truth.json")
    agreement = truth["levels"] if truth else None

    labellings = [
        {
            "level": None,
            "audit": None,
            "crops": len(crops),
            "identities": int(crops.tracklet.nunique()),
            "noise": audits[0]["noise"]["before"],
            "truth": agreement[tables.LEVELS[0]]["before"] if agreement else None,
        }
    ]
    for audit in audits:
        level = audit["level"]
        labellings.append(
            {
                "level": level,
                "audit": audit,
                "crops": audit["crops"],
                "identities": audit["identities"],
                "noise": audit["noise"]["after"],
                "truth": agreement[level]["after"] if agreement else None,
            }
        )
    return labellings


def count_sightings(root: Path) -> pd.DataFrame:
    """How often each identity of the last level is seen, as `sightings` counts."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    last_level = root / "denoise" / tables.LEVELS[-1]
    kept = tables.read(tables.Identities, last_level / "identities.parquet")
    kept_crops = crops.loc[kept.crop]
    return sightings(
        kept.identity.to_numpy(),
        kept_crops.tracklet.to_numpy(),
        kept_crops.video.to_numpy(),
    )
