"""The ledger of all levels: data, and the same in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core import tables
from cion_core.denoise import Settings, denoise
from cion_core.errors import CionError


def test_more_confidence_keeps_fewer_links() -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(80), 3)
    crops = pd.DataFrame(
        {
            "crop": range(240),
            "video": [f"v{t % 4}" for t in of],
            "frame": range(240),
            "tracklet": of,
        }
    )
    features = rng.normal(size=(20, 12))[of // 4] + 0.5 * rng.normal(size=(80, 12))[of] + 0.1
    result = denoise(crops, features)
    pd.testing.assert_frame_equal(result.at(0), result.identities)
    sure = result.levels[-1].links.probability
    counts = [
        result.at(confidence).identity.nunique() for confidence in (0, *np.sort(sure)[::8], 1)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    linked = (result.ledger.level == "cross_video") & (result.ledger.action == "linked")
    assert linked.any() and result.ledger.probability[linked].between(0, 1).all()
    assert result.ledger.probability[~linked].isna().all()
    pd.testing.assert_frame_equal(result.at(0.9)[["crop"]], result.identities[["crop"]])
    given = denoise(crops, features, Settings(separation={"cross_video": 0.5}))
    assert given.ledger.probability.isna().all() and (given.ledger.action == "linked").any()
    pd.testing.assert_frame_equal(given.at(0), given.identities)
    with pytest.raises(CionError, match="nothing is known of how sure the links are"):
        given.at(0.5)


def test_all_levels_in_one_ledger_and_the_same_in_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(12), 6)
    crops = pd.DataFrame(
        {"crop": range(72), "video": [f"v{t % 2}" for t in of], "frame": range(72), "tracklet": of}
    )
    result = denoise(crops, rng.normal(size=(4, 8))[of % 4] + 0.3 * rng.normal(size=(72, 8)))
    for level in result.levels:
        part = result.ledger[result.ledger.level == level.name]
        assert part.rule.tolist() == level.ledger.rule.tolist() and len(part) == len(level.ledger)
    assert list(result.ledger) == [
        "crop", "level", "action", "other", "distance", "limit", "probability", "rule", "from", "to"
    ]  # fmt: skip
    assert all(result.ledger[name].dtype == "category" for name in ("level", "action", "rule"))
    tables.write(tables.Ledger, result.ledger, tmp_path / "ledger.parquet")
    again = tables.read(tables.Ledger, tmp_path / "ledger.parquet")
    for name in ("level", "action", "rule"):
        assert again[name].tolist() == result.ledger[name].tolist() and isinstance(
            again[name][0], str
        )
    numbers = ["crop", "other", "distance", "limit", "probability", "from", "to"]
    pd.testing.assert_frame_equal(again[numbers], result.ledger[numbers])
    assert result.ledger.probability.isna().all()  # too few to say how sure links are
    counts = result.audit["tracklet"]["actions"]
    assert sum(counts.values()) == 72 and all(counts.values())
