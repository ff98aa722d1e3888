"""Contact sheets of the levels: what is chosen, how it is marked, and what the truth says of it."""

import numpy as np
import pandas as pd
import pytest

from cion_core.report import level_sheets


def level(rows: list[tuple]) -> pd.DataFrame:
    """A level's table of (tracklet, identity after, action, distance, person).

    There is one video per hundred tracklets.
    """
    table = pd.DataFrame(rows, columns=["tracklet", "identity", "action", "distance", "person"])
    table["crop"] = table["row"] = range(len(table))
    video = (table.tracklet // 100).map("v{}".format)
    across = (table.action == "linked").any()
    rules = {"merged": "separation", "dropped": "no_home"}
    rule = "reciprocal" if across else table.action.map(rules).fillna("radius")
    data = {
        "level": "cross_video" if across else "video",
        "other": -1,
        "limit": 0.35,
        "probability": np.nan,
        "rule": rule,
        "from": table.tracklet,
        "to": table.identity,
    }
    return table.assign(video=video, time_s=table.row / 10, **data)


def read(row: int) -> str:
    return f"image {row}"


def test_dropped_crops_stand_in_the_order_of_time_with_mark_and_distance():
    table = level(
        [(1, 1, "kept", 0.1, 5.0), (1, -1, "dropped", 0.4, 6.0), (1, 1, "kept", 0.1, 5.0)]
    )
    (row,) = level_sheets.show_tracklets(table, read)
    assert row.note == "v0 · 3 → 2 crops"
    assert [(t.image, t.mark, t.caption) for t in row.strips[0].tiles] == [
        ("image 0", "", ""),
        ("image 1", "dropped", "0.40"),
        ("image 2", "", ""),
    ]
    assert "no identity of its video within radius 0.350" in row.strips[0].tiles[1].hint
    assert row.verdict == ("right", "one person")  # of what was kept


def test_tracklets_dropped_whole_and_untouched_are_shown_too():
    table = level([(1, -1, "dropped", 0.4, 1.0), (2, 2, "kept", 0.1, 1.0)])
    whole, untouched = level_sheets.show_tracklets(table, read)
    assert whole.note == "v0 · dropped whole" and whole.verdict is None
    assert untouched.note == "v0 · 1 crops kept"


def test_a_merge_has_one_strip_per_tracklet_and_says_at_what_distance():
    merged = [
        (tracklet, 1, "merged", 0.07, person) for tracklet, person in [(1, 3.0), (2, 4.0), (2, 3.0)]
    ]
    table = level([*merged, (3, 3, "kept", 0.1, 9.0)])
    (row,) = level_sheets.show_merges(table, read)
    assert [(s.title, s.note) for s in row.strips] == [
        ("tracklet 1", ""),
        ("tracklet 2", "joined at 0.07"),
    ]
    assert row.verdict == ("wrong", "2 people, 67% one of them")
    assert [t.mark for s in row.strips for t in s.tiles] == ["", "wrong", ""]


def test_a_moved_crop_is_marked_and_its_identity_shown_though_nothing_was_merged():
    table = level(
        [(1, 1, "kept", 0.1, np.nan), (2, 1, "moved", 0.2, np.nan), (2, 2, "kept", 0.1, np.nan)]
    )
    (row,) = level_sheets.show_merges(table, read)
    assert [(t.mark, t.caption) for s in row.strips for t in s.tiles] == [
        ("", ""),
        ("moved", "0.20"),
    ]
    assert "1 stray crop taken in" in row.note
    assert row.verdict is None  # no truth


def test_links_show_identities_of_several_videos_only():
    table = level(
        [(1, 1, "linked", 0.3, 1.0), (101, 1, "linked", 0.3, 1.0), (2, 2, "linked", 0.2, 1.0)]
    )
    (row,) = level_sheets.show_links(table, read)
    assert [s.title for s in row.strips] == ["v0", "v1"]
    assert "2 videos" in row.note and "widest link 0.30" in row.note


def test_nothing_linked_is_an_empty_sheet():
    assert level_sheets.show_links(level([(1, 1, "kept", np.nan, 1.0)]), read) == []


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ([1.0, 1.0], ("right", "one person")),
        ([1.0, -1.0], ("right", "one person; 50% of the crops match nobody")),
        ([-1.0, -2.0], ("wrong", "shows nobody")),
        ([np.nan], None),
        ([], None),
    ],
)
def test_an_identity_is_judged_by_its_people(people, said):
    assert level_sheets.judge(pd.Series(people, dtype=float))[0] == said


def test_sample_keeps_what_is_unusual_and_the_order():
    kept = [(1, 1, "kept", 0.1, 1.0)] * 50
    table = level([*kept, (1, -1, "dropped", 0.5, 1.0), *kept])
    rows = [crop.row for crop in level_sheets.sample_crops(table, 9)]
    assert len(rows) == 9 and rows == sorted(rows)
    assert {0, 50, 100} <= set(rows)
