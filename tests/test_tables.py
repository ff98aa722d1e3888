from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cion_core import tables
from cion_core.errors import CionError


def crop_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "crop": [0, 1, 2],
            "video": ["a", "a", "b"],
            "frame": [0, 1, 0],
            "time_s": [0.0, 0.1, 0.0],
            "tracklet": [0, 0, 1],
            "x1": [0.0, 1, 2],
            "y1": [0.0, 0, 0],
            "x2": [9.0, 9, 9],
            "y2": [20.0, 20, 20],
            "confidence": [1.0, 0.5, 0.9],
            "shard": ["a.tar", "a.tar", "b.tar"],
            "offset": [512, 2048, 512],
            "size": [700, 600, 500],
        }
    )


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    tables.write(tables.Crops, crop_rows(), tmp_path / "crops.parquet")
    pd.testing.assert_frame_equal(
        tables.read(tables.Crops, tmp_path / "crops.parquet"), crop_rows(), check_dtype=False
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "crops.parquet"]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("crop", [0, 0, 2], r"crop.*rows \[0, 1\]"),
        ("x2", [9.0, 0.5, 9.0], r"x1 < x2.*rows \[1\]"),
        ("tracklet", [0, 1, 1], r"a tracklet lies in one video.*rows \[1, 2\]"),
        ("size", [700, 0, 500], r"size.*rows \[1\].*found \[0\]"),
    ],
)
def test_a_violation_names_column_and_rows(column: str, values: list, said: str) -> None:
    with pytest.raises(CionError, match=f"(?s)here.parquet.*{said}"):
        tables.validate(tables.Crops, crop_rows().assign(**{column: values}), "here.parquet")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(CionError, match="shard"):
        tables.validate(tables.Crops, crop_rows().drop(columns="shard"), "here.parquet")


def test_extra_columns_are_kept() -> None:
    assert "note" in tables.validate(tables.Crops, crop_rows().assign(note="x"), "here.parquet")


def test_missing_and_torn_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CionError, match="no such file"):
        tables.read(tables.Crops, tmp_path / "crops.parquet")
    (tmp_path / "crops.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(CionError, match="not a readable Parquet file"):
        tables.read(tables.Crops, tmp_path / "crops.parquet")


def test_an_invalid_table_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(CionError):
        tables.write(tables.Crops, crop_rows().assign(size=0), tmp_path / "crops.parquet")
    assert not list(tmp_path.iterdir())


def test_the_empty_ledger_round_trips(tmp_path: Path) -> None:
    tables.write(tables.Ledger, tables.empty(tables.Ledger), tmp_path / "ledger.parquet")
    assert len(tables.read(tables.Ledger, tmp_path / "ledger.parquet")) == 0


def query_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {"query": ["q/a.jpg", "q/b.jpg", "q/c.jpg"], "person": [4, 4, 9], "ap": [0.5, None, 1.0],
         "inp": [0.25, None, 1.0], "first": [2, 0, 1]}
    )  # fmt: skip


def test_queries_come_back_as_they_were_written(tmp_path: Path) -> None:
    tables.write(tables.Queries, query_rows(), tmp_path / "queries.parquet")
    got = tables.read(tables.Queries, tmp_path / "queries.parquet")
    pd.testing.assert_frame_equal(got, query_rows(), check_dtype=False)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("query", ["a", "b", "a"], r"query.*rows \[0, 2\]"),
        ("ap", [0.5, None, 50.0], r"ap.*rows \[2\]"),
        ("ap", [0.5, 0.0, 1.0], r"missing where first is 0.*rows \[1\]"),
        ("inp", [0.5, None, None], r"missing where first is 0.*rows \[2\]"),
        ("first", [2, 0, -1], r"first.*rows \[2\]"),
    ],
)
def test_queries_that_contradict_themselves_are_refused(
    column: str, values: list, said: str
) -> None:
    with pytest.raises(CionError, match=f"(?s)here.parquet.*{said}"):
        tables.validate(tables.Queries, query_rows().assign(**{column: values}), "here.parquet")


def test_each_shot_of_a_video_but_the_first_has_a_name_of_its_own() -> None:
    crops = pd.DataFrame({"video": ["b.mp4", "a.mp4", "a.mp4", "a.mp4"], "shot": [0, 0, 1, 12]})
    assert tables.camera_views(crops).tolist() == [
        "b.mp4",
        "a.mp4",
        "a.mp4/shot 0001",
        "a.mp4/shot 0012",
    ]
    assert tables.camera_views(crops.drop(columns="shot")).tolist() == crops.video.tolist()
    assert (
        tables.camera_views(crops.astype({"video": "category"})).tolist()[-1] == "a.mp4/shot 0012"
    )


def test_a_tracklet_in_two_shots_is_refused() -> None:
    crops = crop_rows().assign(tracklet=7, video="a.mp4")
    tables.validate(tables.Crops, crops.assign(shot=3), "crops")
    with pytest.raises(CionError, match="a tracklet lies in one shot"):
        tables.validate(tables.Crops, crops.assign(shot=range(len(crops))), "crops")
