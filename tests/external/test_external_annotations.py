"""What is written in CION-AL's form is what CION's training script reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.external import annotations


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text('aé/ "\\_1', min_size=1), st.integers(0, 2**62), max_size=8))
def test_annotations_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: dict[str, int]
) -> None:
    path = tmp_path_factory.mktemp("al") / "annotations.json"
    table = pd.DataFrame(
        {"path": list(names), "identity": pd.Series(list(names.values()), dtype=np.int64)}
    )
    annotations.write(path, table)
    back = json.loads(path.read_text())
    assert {entry["file_path"]: entry["id"] for entry in back} == names
    ids = [entry["id"] for entry in back]
    assert ids == sorted(ids)  # as in CION-AL, whose last entry has the highest id


def test_annotations_are_as_cion_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    annotations.write(path, pd.DataFrame({"path": ["b/2.jpg", "a/1.jpg"], "identity": [3, 3]}))
    assert json.loads(path.read_text()) == [
        {"file_path": "a/1.jpg", "id": 3},
        {"file_path": "b/2.jpg", "id": 3},
    ]
