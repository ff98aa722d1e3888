"""Tables of crops as programs write them are read, and what is wrong is named in our words."""

from __future__ import annotations

from pathlib import Path

import pytest

from cion_core.errors import CionError
from cion_core.external import crops_table

HEADER = "crop,video,frame,tracklet,x1,y1,x2,y2\n"
ROWS = "0,a,0,1,1,1,5,9\n1,a,1,1,1,1,5,9\n"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROWS,
        "\ufeff" + HEADER + ROWS,
        (HEADER + ROWS).replace(",", ";"),
        (HEADER + ROWS).replace(",", "\t"),
        (HEADER + ROWS).replace(",", "|"),
        "sep=;\n" + (HEADER + ROWS).replace(",", ";"),
        (HEADER + ROWS).replace("\n", "\r\n"),
        HEADER.upper() + ROWS,
        HEADER.replace(",", " , ") + ROWS,
        (HEADER + ROWS).replace("\n", ",\n"),
    ],
)
def test_the_same_table_however_it_is_written(tmp_path: Path, text: str) -> None:
    path = tmp_path / "crops.csv"
    path.write_bytes(text.encode())
    found = crops_table.read(path)
    assert found.crop.tolist() == [0, 1] and found.video.tolist() == ["a", "a"]
    assert found[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[1, 1, 5, 9]] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.strip() + ",crop\n0,a,0,1,1,1,5,9,0\n", "column crop is there twice"),
        (
            HEADER + ROWS + "2,a,2,1,1,1,5,9,9,9\n",
            "line 4 has 10 columns, and the first line names",
        ),
        (HEADER + '0,"a,0,1,1,1,5,9\n' + ROWS, "a quotation mark is open from line 2 to the end"),
        ("# made by a tracker\n" + HEADER + ROWS, "no column crop, video, frame, tracklet; needed"),
        (HEADER + "0.5,a,0,1,1,1,5,9\n", "column crop: must be whole numbers, rows [0], found"),
        (HEADER + "0,a,0,1,5,9,1,1\n", "x1 < x2 and y1 < y2, none of them infinite, rows [0]"),
    ],
)
def test_what_is_wrong_is_named_in_two_lines(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "crops.csv"
    path.write_text(text)
    with pytest.raises(CionError) as caught:
        crops_table.read(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_text_is_called_what_it_is(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "crops.csv"
    path.write_bytes((HEADER + ROWS).encode(encoding))
    with pytest.raises(CionError, match="not a CSV table: it is UTF-16 text"):
        crops_table.read(path)
