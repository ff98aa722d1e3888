"""The ways of a few crops in pictures: which are chosen, and what is shown of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.audit import explain as why
from cion_core.audit.nearby import Group
from cion_core.denoise import Thresholds
from cion_core.report import crop_stories, sheets

NEAREST = pd.DataFrame({
    "identity": [1, 2, 3, 4, 5, 6, 7],
    "distance": [0.5, 0.5, 0.3, 0.2, 0.1, 0.4, np.inf],
    "forbidden": [False, False, False, False, True, True, False],
})  # fmt: skip


def ledgers(crops: list[tuple]) -> dict[str, pd.DataFrame]:
    """Of (action, distance) at each level and the identity before and after level 3.

    Crop numbers count from 100.
    """
    rows = [(100 + i, *row) for i, row in enumerate(crops)]
    table = pd.DataFrame(rows, columns=["crop", "a1", "d1", "a2", "d2", "a3", "d3", "from", "to"])
    first = table.rename(columns={"a1": "action", "d1": "distance"})[["crop", "action", "distance"]]
    second = table.rename(columns={"a2": "action", "d2": "distance"})[
        ["crop", "action", "distance"]
    ]
    third = table.rename(columns={"a3": "action", "d3": "distance"})[
        ["crop", "action", "distance", "from", "to"]
    ]
    return {"tracklet": first, "video": second, "cross_video": third[third.to >= 0]}


def kept(a3: str, d3: float, before: int, after: int, off: float = 0.1) -> tuple:
    return ("kept", off, "kept", 0.1, a3, d3, before, after)


CROPS = [
    kept("linked", 0.2, 1, 1, off=0.3),
    kept("linked", 0.2, 1, 1, off=0.2),
    kept("linked", 0.6, 2, 2),  # 102: the widest link
    kept("kept", np.nan, 3, 3),
    kept("kept", np.nan, 4, 4),  # 104: the nearest that was linked with nothing
    kept("kept", np.nan, 5, 5),  # 105: nearer still, but seen together
    kept("linked", 0.4, 6, 6),
    kept("kept", np.nan, 7, 7),  # nothing lies around it
    ("dropped", 0.5, "dropped", np.nan, "", np.nan, -1, -1),
    ("dropped", 0.7, "dropped", np.nan, "", np.nan, -1, -1),  # 109: the farthest for good
    # 110: far from its tracklet, near its new identity.
    ("dropped", 0.9, "moved", 0.2, "kept", np.nan, 3, 3),
    ("dropped", 0.5, "moved", 0.1, "kept", np.nan, 3, 3),
]


def test_each_kind_is_shown_by_the_crop_that_shows_it_best() -> None:
    chosen = crop_stories.choose_crops(ledgers(CROPS), NEAREST)
    assert chosen == {
        "dropped": 109,
        "moved": 110,
        "linked": 106,
        "doubtful": 102,
        "alone": 104,
        "apart": 105,
    }
    assert set(chosen) == set(crop_stories.KINDS) == set(crop_stories.CHOICE_ORDER)


def test_no_identity_stands_for_two_kinds() -> None:
    only_link = [kept("linked", 0.2, 1, 1), kept("linked", 0.2, 2, 1), kept("linked", 0.2, 6, 1)]
    assert crop_stories.choose_crops(ledgers(only_link), NEAREST) == {"doubtful": 100}


def test_kinds_that_the_footage_lacks_are_left_out() -> None:
    assert crop_stories.choose_crops(ledgers([kept("kept", np.nan, 7, 7)]), NEAREST) == {}
    assert crop_stories.choose_crops(ledgers(CROPS[8:10]), NEAREST.iloc[:0]) == {"dropped": 101}


def step(level: str, **what: object) -> why.Step:
    return why.Step(
        **{
            "level": level,
            "action": "kept",
            "reason": f"because of {level}",
            "distance": 0.1,
            "thresholds": Thresholds(0.25, 0.125),
            "before": 1,
            "after": 1,
            "crops": 9,
            "tracklets": 2,
            "videos": 2,
            "shown": (5,),
        }
        | what
    )


def test_a_way_shows_the_crop_its_company_and_who_it_was_held_from() -> None:
    near, seen = Group(3, 0.1, 7, False, (30, 31)), Group(4, 0.2, 1, True, (40,))
    story = why.Story(5, {"video": "v.mp4", "frame": 8, "tracklet": 2}, (
        step("tracklet", place=why.Place(0.1, 2, 4, 0.05, 0.3, (5, 6))),
        step("video", action="merged", joined=(near,), parts=4, others=(seen,)),
        step("cross_video", thresholds=Thresholds(None, 0.6)),
    ))  # fmt: skip
    way = crop_stories.show_way("apart", story, 12.34, "image {}".format)
    assert way.title == "Held apart" and way.note.endswith("→ identity 1, 9 crops in 2 videos")
    assert (way.crop.title, way.crop.note) == ("Crop 5", "v.mp4, 12.3 s")
    assert way.crop.tiles == [sheets.Tile("image 5", "query", hint="v.mp4, 12.3 s")]
    first, second, third = way.levels
    assert [row.title for row in way.levels] == [
        "① In its tracklet: kept", "② In its video: merged", "③ Across videos: kept",
    ]  # fmt: skip
    assert [row.note for row in way.levels] == [
        f"because of {level}" for level in ("tracklet", "video", "cross_video")
    ]
    (tracklet,) = first.strips
    assert [t.image for t in tracklet.tiles] == [
        "image 5",
        "image 6",
    ] and tracklet.title == "Its 4 crops"
    assert tracklet.note == "median 0.050, largest 0.300"
    together, apart = second.strips
    assert [(t.image, t.caption, t.mark) for t in together.tiles] == [("image 30", "0.10", "")]
    assert together.note == "nearest 1 of 4"
    assert [(t.image, t.caption, t.mark) for t in apart.tiles] == [("image 40", "0.20", "apart")]
    assert "seen together" in apart.tiles[0].hint and apart.note == "separation 0.125"
    assert third.strips == []


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ({"action": "merged"}, "separation 0.125"),
        ({"action": "moved"}, "radius 0.250"),  # the crop alone was held against spheres
        ({"action": "linked", "adapted": True}, ""),  # its separation is one of neighbourhoods
    ],
)
def test_beside_the_others_stands_the_threshold_that_they_were_held_against(
    what: dict, limit: str
) -> None:
    story = why.Story(5, {"video": "v", "frame": 8, "tracklet": 2}, (
        step("video", others=(Group(3, 0.4, 7, False, (30, 31)),), **what),
    ))  # fmt: skip
    (row,) = crop_stories.show_way("moved", story, 1, str).levels
    assert row.strips[0].note == limit
    assert row.verdict == (("moved", "moved") if what["action"] == "moved" else None)


def test_what_is_left_out_says_so() -> None:
    gone = {
        "action": "not reached",
        "before": -1,
        "after": -1,
        "crops": 0,
        "videos": 0,
        "shown": (),
    }
    story = why.Story(5, {"video": "v", "frame": 8, "tracklet": 2}, (step("cross_video", **gone),))
    assert crop_stories.show_way("dropped", story, 1, str).note.endswith("→ left out")


def test_the_files_of_the_stages_give_every_kind_there_is(data, settings) -> None:
    """Every stray found a home, so none is left out for good.

    All links are equally wide; 1 and 5 look alike.
    """
    ways = {way.title: way for way in crop_stories.show_ways(settings.denoise, data)}
    assert list(ways) == ["Moved", "Linked", "Linked doubtfully", "Kept alone", "Held apart"]
    tiles = [
        tile
        for way in ways.values()
        for row in way.levels
        for strip in row.strips
        for tile in strip.tiles
    ]
    assert all(tile.image.startswith("data:image/jpeg;base64,") for tile in tiles)
    assert [row.verdict and row.verdict[0] for row in ways["Moved"].levels] == [
        "dropped",
        "moved",
        None,
    ]
    linked = {strip.title: strip for strip in ways["Linked"].levels[2].strips}
    assert len(linked["Put with"].tiles) == 2  # of the other two videos
    apart = {strip.title: strip for strip in ways["Held apart"].levels[2].strips}
    assert apart["Not put with"].tiles[0].mark == "apart"
