"""Pictures of contact sheets, and the sheet of an evaluation."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pandas as pd

from cion_core.report import sheets


def test_spread_takes_the_ends():
    assert sheets.spread_evenly(range(101), 3) == [0, 50, 100]
    assert sheets.spread_evenly([1, 2], 5) == [1, 2]
    assert sheets.spread_evenly([], 5) == []


def test_retrieval_marks_right_and_wrong_as_evaluated_and_only_common_queries():
    def lists(right: list[bool], queries: str) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {"query": q, "rank": i + 1, "gallery": f"g{i}", "distance": 0.1 * i, "right": r}
                for q in queries
                for i, r in enumerate(right)
            ]
        )

    (row,) = sheets.show_retrieval(
        {"cion": lists([True, False], "ab"), "dino": lists([False, True], "b")}, str
    )
    assert row.title == "b"
    query, cion, dino = row.strips
    assert [t.mark for t in query.tiles] == ["query"]
    assert [t.mark for t in cion.tiles] == ["right", "wrong"] and cion.note == "1 of 2 right"
    assert [t.mark for t in dino.tiles] == ["wrong", "right"]


def test_picture_is_a_small_jpeg_of_bounded_shape():
    for shape in [(300, 100, 3), (20, 10, 3), (500, 20, 3), (50, 400, 3)]:
        uri = sheets.picture(np.full(shape, 120, np.uint8))
        data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
        height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        assert height == sheets.HEIGHT and sheets.HEIGHT // 4 <= width <= sheets.HEIGHT


def test_a_missing_benchmark_image_is_an_empty_tile(tmp_path):
    assert sheets.read_picture(str(tmp_path / "none.jpg")) == ""
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    assert sheets.read_picture(str(tmp_path / "torn.jpg")) == ""
