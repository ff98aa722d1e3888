"""The words of a ledger: said as Python says them, held once, and text in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cion_core import tables
from cion_core.denoise import denoise
from cion_core.denoise.result import phrased, thousandths


@given(st.lists(st.floats(0, 2, width=32) | st.sampled_from([0.0005, 0.0625, 0.1875, 0.3125, 1.0625])))
def test_thousandths_are_what_is_printed(values: list[float]) -> None:
    distance = np.array(values, np.float32)
    assert [f"{k / 1000:.3f}" for k in thousandths(distance)] == [f"{d:.3f}" for d in distance]


def test_missing_distances_have_no_thousandths() -> None:
    assert thousandths(np.array([np.nan, 0.25])).tolist() == [-1, 250]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 3), st.integers(0, 3))))
def test_each_row_has_its_own_words(rows: list[tuple[int, int, int]]) -> None:
    def phrase(kind: int, other: int, number: int) -> str:
        return f"{kind} of {other}" if kind else f"{number}"  # rows that differ may read the same

    said = phrased(phrase, *np.array(rows, int).reshape(-1, 3).T)
    assert list(said) == [phrase(*row) for row in rows]
    assert len(said.categories) == len({phrase(*row) for row in rows})


def test_all_levels_in_one_ledger_and_the_file_holds_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(12), 6)
    crops = pd.DataFrame({"crop": range(72), "video": [f"v{t % 2}" for t in of], "frame": range(72), "tracklet": of})
    result = denoise(crops, rng.normal(size=(4, 8))[of % 4] + 0.3 * rng.normal(size=(72, 8)))
    for level in result.levels:
        part = result.ledger[result.ledger.level == level.name]
        assert part.reason.tolist() == level.ledger.reason.tolist() and len(part) == len(level.ledger)
    assert list(result.ledger) == ["crop", "level", "action", "reason", "distance", "from", "to"]
    assert all(result.ledger[name].dtype == "category" for name in ("level", "action", "reason"))
    tables.write(tables.Ledger, result.ledger, tmp_path / "ledger.parquet")
    again = tables.read(tables.Ledger, tmp_path / "ledger.parquet")
    for name in ("level", "action", "reason"):
        assert again[name].tolist() == result.ledger[name].tolist() and isinstance(again[name][0], str)
    counts = result.audit["tracklet"]["actions"]
    assert sum(counts.values()) == 72 and all(counts.values())
