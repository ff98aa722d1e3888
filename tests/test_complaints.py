"""What libraries find wrong is said in our words."""

from __future__ import annotations

import pandas as pd
import pytest

from cion_core import tables
from cion_core.complaints import of_setting
from cion_core.errors import CionError
from cion_core.external.crops_table import Crops


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"crop": None}, "  no column crop; needed are crop, video, frame, tracklet"),
        (
            {"crop": ["a", "b"]},
            "  column crop: must be whole numbers, rows [0, 1], found ['a', 'b']",
        ),
        (
            {"crop": [4, 4]},
            "  column crop: must be different in every row, rows [0, 1], found [4, 4]",
        ),
        ({"frame": [0, -1]}, "  column frame: must be at least 0, rows [1], found [-1]"),
        ({"video": ["a", None]}, "  column video: must not be empty, rows [1], found [nan]"),
        ({"x1": [0, "left"]}, "  column x1: must be numbers, rows [1], found ['left']"),
    ],
)
def test_a_fault_of_a_table_is_one_line(change: dict, says: str) -> None:
    rows = pd.DataFrame({"crop": [0, 1], "video": ["a", "a"], "frame": [0, 1], "tracklet": [1, 1]})
    changed = rows.drop(columns="crop") if change == {"crop": None} else rows.assign(**change)
    with pytest.raises(CionError) as error:
        tables.validate(Crops, changed, "mine.csv")
    assert str(error.value).splitlines() == ["mine.csv: not a table of crops", says]


def test_many_faults_are_counted() -> None:
    rows = pd.DataFrame(
        {"crop": [-1, -1], "video": [None, "a"], "frame": [-1, 1], "tracklet": [-1, 1]}
    )
    with pytest.raises(CionError) as error:
        tables.validate(Crops, rows, "mine.csv")
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and lines[-1].endswith("; and 3 more faults")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Input should be a valid string", "must be text"),
        (
            "Input should be a valid integer, unable to parse string as an integer",
            "must be a whole number",
        ),
        ("Input should be 'auto', 'cpu' or 'cuda'", "must be 'auto', 'cpu' or 'cuda'"),
        ("Input should be greater than or equal to 1", "must be at least 1"),
        ("Dictionary should have at least 1 item after validation, not 0", "must have 1 or more"),
        ("Field required", "is missing"),
        ("stride 9 must be below range 8", "stride 9 must be below range 8"),
    ],
)
def test_what_is_wrong_with_a_setting(message: str, words: str) -> None:
    assert of_setting(message) == words
