"""The ledger of all levels: data, and the same in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.denoise import denoise


def test_all_levels_in_one_ledger_and_the_same_in_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(12), 6)
    crops = pd.DataFrame({"crop": range(72), "video": [f"v{t % 2}" for t in of], "frame": range(72), "tracklet": of})
    result = denoise(crops, rng.normal(size=(4, 8))[of % 4] + 0.3 * rng.normal(size=(72, 8)))
    for level in result.levels:
        part = result.ledger[result.ledger.level == level.name]
        assert part.rule.tolist() == level.ledger.rule.tolist() and len(part) == len(level.ledger)
    assert list(result.ledger) == [
        "crop", "level", "action", "other", "distance", "limit", "rule", "from", "to"
    ]  # fmt: skip
    assert all(result.ledger[name].dtype == "category" for name in ("level", "action", "rule"))
    tables.write(tables.Ledger, result.ledger, tmp_path / "ledger.parquet")
    again = tables.read(tables.Ledger, tmp_path / "ledger.parquet")
    for name in ("level", "action", "rule"):
        assert again[name].tolist() == result.ledger[name].tolist() and isinstance(again[name][0], str)
    numbers = ["crop", "other", "distance", "limit", "from", "to"]
    pd.testing.assert_frame_equal(again[numbers], result.ledger[numbers])
    counts = result.audit["tracklet"]["actions"]
    assert sum(counts.values()) == 72 and all(counts.values())
