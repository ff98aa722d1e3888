"""Planted errors: what is planted, and what counts as repaired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core import tables, work
from cion_core.audit import planted_errors, stage
from cion_core.audit.planted_errors import Planted
from cion_core.denoise.checks import checked
from cion_core.denoise.settings import Denoise
from cion_core.errors import CionError


def table(*tracks: tuple[str, int, int]) -> pd.DataFrame:
    """One tracklet for each (video, first frame, crops), a crop in every frame."""
    rows = [(video, first + k, t) for t, (video, first, n) in enumerate(tracks) for k in range(n)]
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet"])
    return crops.assign(crop=np.arange(len(crops)), time_s=crops.frame / 10)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def kinds(planted: list[Planted]) -> dict[str, int]:
    return {kind: sum(error.kind == kind for error in planted) for kind in planted_errors.KINDS}


worlds = st.builds(
    lambda lengths, starts, videos: table(
        *((f"v{v}", s, n) for n, s, v in zip(lengths, starts, videos, strict=False))
    ),
    st.lists(st.integers(1, 12), min_size=1, max_size=14),
    st.lists(st.integers(0, 6), min_size=14, max_size=14),
    st.lists(st.integers(0, 2), min_size=14, max_size=14),
)


@settings(deadline=None, max_examples=150)
@given(worlds, st.integers(0, 99), st.floats(0, 1), st.integers(1, 4))
def test_only_tracklets_change_and_stay_sound(
    crops: pd.DataFrame, seed: int, share: float, least: int
) -> None:
    before = crops.copy()
    changed, planted = planted_errors.inject(crops, rng(seed), share, least)
    pd.testing.assert_frame_equal(crops, before)
    pd.testing.assert_frame_equal(changed.drop(columns="tracklet"), crops.drop(columns="tracklet"))
    assert not changed.duplicated(["tracklet", "frame"]).any()
    assert changed.groupby("tracklet").video.nunique().eq(1).all()
    moved = np.flatnonzero(changed.tracklet != crops.tracklet)
    rows = np.concatenate(
        [np.concatenate([e.guest, e.host, e.origin]) for e in planted] or [np.empty(0, int)]
    )
    assert set(moved) <= set(rows)
    touched: set[int] = set()
    old, new, video = crops.tracklet.to_numpy(), changed.tracklet.to_numpy(), crops.video.to_numpy()
    for error in planted:
        together = np.concatenate([error.guest, error.host])
        assert len(set(new[together])) == 1 and set(new[error.origin]).isdisjoint(new[together])
        assert len(set(old[np.concatenate([error.guest, error.origin])])) == 1
        assert len(set(video[np.concatenate([together, error.origin])])) == 1
        assert len(error.guest) == 1 if error.kind == "swap" else len(error.guest) >= least
        assert len(error.origin) >= least
        if error.kind == "fragment":
            assert not len(error.host) and len(error.guest) <= len(error.origin)
        else:
            assert len(error.host) >= max(least, len(error.guest)) or error.kind == "swap"
            assert set(old[error.host]).isdisjoint(old[error.guest])
            frames = crops.frame.to_numpy()
            both = [set(frames[old == old[part[0]]]) for part in (error.guest, error.host)]
            assert both[0] & both[1]  # seen together, so known to be two people
        touched |= set(old[rows])
    quota = round(share * crops.tracklet.nunique())
    assert all(n <= quota for n in kinds(planted).values())


@settings(deadline=None, max_examples=50)
@given(worlds, st.integers(0, 99))
def test_as_it_was_all_is_repaired_and_as_planted_nothing(crops: pd.DataFrame, seed: int) -> None:
    changed, planted = planted_errors.inject(crops, rng(seed), 1.0, 1)
    perfect = planted_errors.repaired(planted, crops.tracklet.to_numpy())
    nothing = planted_errors.repaired(planted, changed.tracklet.to_numpy())
    gone = planted_errors.repaired(planted, np.full(len(crops), -1))
    there = {kind: n for kind, n in kinds(planted).items() if n}
    assert perfect == {kind: {"repaired": n, "removed": 0, "home": n} for kind, n in there.items()}
    assert nothing == {kind: {"repaired": 0, "removed": 0, "home": 0} for kind in there}
    for kind, n in there.items():  # a fragment that is gone is not whole
        assert gone[kind] == {"repaired": 0 if kind == "fragment" else n, "removed": n, "home": 0}


def test_a_switch_by_hand() -> None:
    # Rows 0-3 and 4-7; with two crops a part, only frame 2 can be the cut.
    crops = table(("a", 0, 4), ("a", 0, 4))
    changed, planted = planted_errors.inject(crops, rng(), 1.0, 2)
    assert changed.tracklet.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert [e.kind for e in planted] == ["switch", "switch"]
    first = next(e for e in planted if 0 in e.guest)
    assert [part.tolist() for part in (first.guest, first.host, first.origin)] == [
        [0, 1],
        [6, 7],
        [2, 3],
    ]


def test_a_swap_and_a_fragment_by_hand() -> None:
    # The two have one frame in common.
    swapped, planted = planted_errors.inject(table(("a", 0, 3), ("a", 2, 3)), rng(), 1.0, 2)
    assert swapped.tracklet.tolist() == [0, 0, 1, 0, 1, 1]
    assert [(e.guest.tolist(), e.host.tolist(), e.origin.tolist()) for e in planted] == [
        ([2], [4, 5], [0, 1]),
        ([3], [0, 1], [4, 5]),
    ]
    cut, planted = planted_errors.inject(table(("a", 0, 4)), rng(), 1.0, 2)
    assert cut.tracklet.tolist() == [0, 0, 1, 1] and kinds(planted) == {
        "switch": 0,
        "swap": 0,
        "fragment": 1,
    }
    assert (planted[0].guest.tolist(), planted[0].origin.tolist()) == ([0, 1], [2, 3])


def test_overlapping_boxes_are_one_detection_twice() -> None:
    crops = table(("a", 0, 4), ("a", 0, 4)).assign(x1=0.0, y1=0.0, x2=10.0, y2=20.0)
    assert kinds(planted_errors.inject(crops, rng(), 1.0, 2)[1]) == {
        "switch": 0,
        "swap": 0,
        "fragment": 2,
    }


@pytest.mark.parametrize(
    ("labels", "fate"),
    [
        ([1, 1, 1, 1, 1, 1, 2], "stayed"),
        ([-1, -1, -1, 1, 1, 1, 2], "removed"),
        ([2, 2, -1, 1, 1, 1, 2], "home"),
        ([3, 3, -1, 1, 1, 1, 2], "elsewhere"),
        ([2, 1, -1, 1, 1, 1, 2], "stayed"),  # a tie counts as the worst of the tied
        ([2, 2, -1, -1, 1, 1, 2], "home"),  # the dropped do not say where the host is
        ([1, 1, 1, -1, -1, -1, -1], "elsewhere"),  # the host is gone: the guests are alone
        ([1, 1, 1, 1, 1, 1, 1], "stayed"),  # the two people have become one: that is no repair
    ],
)
def test_fates_of_a_switch(labels: list[int], fate: str) -> None:
    error = Planted("switch", np.arange(3), np.arange(3, 6), np.array([6]))
    assert planted_errors.fate(error, np.array(labels)) == fate
    found = planted_errors.repaired([error], np.array(labels))["switch"]
    assert found["repaired"] == (fate != "stayed")


@pytest.mark.parametrize(
    ("labels", "fate"),
    [
        ([1, 1, 1, 1], "home"),
        ([1, 1, 2, 2], "elsewhere"),
        ([-1, -1, 1, 1], "removed"),
        ([1, 1, -1, -1], "elsewhere"),
    ],
)
def test_fates_of_a_fragment(labels: list[int], fate: str) -> None:
    error = Planted("fragment", np.arange(2), np.empty(0, np.int64), np.arange(2, 4))
    assert planted_errors.fate(error, np.array(labels)) == fate
    assert planted_errors.repaired([error], np.array(labels))["fragment"]["repaired"] == (
        fate == "home"
    )


@settings(deadline=None, max_examples=80)
@given(worlds, st.integers(0, 99), st.integers(1, 60))
def test_samples_are_whole_videos_within_the_limit(
    crops: pd.DataFrame, seed: int, limit: int
) -> None:
    rows = planted_errors.sample(crops, rng(seed), limit)
    assert (np.diff(rows) > 0).all() and np.array_equal(
        rows, planted_errors.sample(crops, rng(seed), limit)
    )
    taken, all_ = crops.iloc[rows], crops.groupby("video").size()
    assert taken.video.nunique() >= min(2, len(all_))
    assert (
        taken.groupby("tracklet")
        .size()
        .eq(crops.groupby("tracklet").size().loc[taken.tracklet.unique()])
        .all()
    )
    for video, n in taken.groupby("video").size().items():
        if all_[video] <= limit // 2:
            assert n == all_[video]
        else:  # no more than half the limit, but one tracklet in any case
            assert n <= limit // 2 or taken.tracklet[taken.video == video].nunique() == 1
    longest = crops.groupby("tracklet").size().max()
    assert len(rows) <= max(limit, 2 * max(limit // 2, longest))


def test_of_a_long_video_the_tracklets_that_begin_first() -> None:
    crops = table(("a", 5, 3), ("a", 0, 3), ("a", 2, 3), ("b", 0, 2))
    assert crops.tracklet[planted_errors.sample(crops, rng(), 13)].unique().tolist() == [1, 2, 3]


def test_the_audit_counts_what_a_level_does() -> None:
    crops = table(*(("a", 0, 6) for _ in range(20)), *(("b", 0, 6) for _ in range(20)))
    truth = crops.tracklet.to_numpy()

    def levels(crops: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
        """The first level does nothing, the second knows all, the third drops one tracklet.

        It is the last video's first, and it is dropped wherever an error was planted.
        """
        assert len(crops) == len(features)
        given, right = crops.tracklet.to_numpy(), features[:, 0].astype(np.int64)
        last = right.copy()
        if not np.array_equal(given, right):
            last[right == right.max()] = -1
        return {"one": given, "two": right, "three": last}

    story = planted_errors.audit(crops, truth[:, None], levels, least=2, seed=3)
    assert (story["videos"], story["crops"]) == (2, 240)
    for kind in planted_errors.KINDS:
        assert story[kind]["planted"] == 4
        assert story[kind]["one"] == {"repaired": 0, "removed": 0, "home": 0}
        assert story[kind]["two"] == {"repaired": 4, "removed": 0, "home": 4}
    dropped = story["bystanders"]["dropped"]
    assert (dropped["one"], dropped["two"]) == (0, 0) and 0 < dropped["three"] <= 6
    assert (
        planted_errors.numbers(story)["swap"]["two"] == 100.0
        and planted_errors.numbers(story)["swap"]["planted"] == 4
    )
    assert "4 switches 0 % / 100 %" in planted_errors.summary(story)


def test_the_levels_may_run_elsewhere_and_in_any_order() -> None:
    crops = table(*(("a", 0, 6) for _ in range(20)), *(("b", 0, 6) for _ in range(20)))
    features, called = np.ones((len(crops), 1)), []

    def levels(crops: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"one": crops.tracklet.to_numpy()}

    def last_first(function: Callable, *arguments: Sequence) -> list:
        called.extend(zip(*arguments, strict=True))
        return [function(*those) for those in reversed(called)][::-1]

    here = planted_errors.audit(crops, features, levels, least=2)
    assert planted_errors.audit(crops, features, levels, least=2, each=last_first) == here
    clean, changed = (given.tracklet.tolist() for given, _ in called)
    assert clean == crops.tracklet.tolist() != changed


def test_nothing_to_plant_is_null() -> None:
    # Nobody is seen together, and nothing is long enough to cut.
    crops = table(("a", 0, 2), ("a", 5, 2), ("b", 0, 2))

    def never(*_: object) -> dict:
        raise AssertionError("no level may run")

    assert planted_errors.audit(crops, np.ones((6, 1)), never, least=2) is None
    assert planted_errors.audit(crops.iloc[:0], np.ones((0, 1)), never, least=2) is None
    assert planted_errors.numbers(None) == {} and "could be planted" in planted_errors.summary(None)
    alone = table(*(("a", 20 * k, 8) for k in range(10)))  # only fragments can be known
    story = planted_errors.audit(
        alone, np.ones((80, 1)), lambda c, f: {"one": c.tracklet.to_numpy()}, least=2
    )
    assert story["switch"] is None and story["swap"] is None and story["fragment"]["planted"] == 1
    assert list(planted_errors.numbers(story)) == ["fragment"]


def test_the_stage_goes_by_the_thresholds_of_the_run(tmp_path: Path) -> None:
    """Where people are far apart and crops of one are alike, all is repaired that can be."""
    p = Denoise(min_crops=3)
    crops = table(*((f"v{v}", 0, 8) for v in range(4) for _ in range(10)))
    looks = np.eye(10)[crops.tracklet % 10] + 0.02 * rng().normal(size=(len(crops), 10))
    given = checked(crops, looks)
    with pytest.raises(CionError, match="denoise tracklet has not run"):
        stage.plant(p, *given, tmp_path)
    thresholds = {"tracklet": (0.2, None), "video": (0.2, 0.1), "cross_video": (None, 0.6)}
    for level, (radius, separation) in thresholds.items():
        work.write_json(
            tmp_path / f"denoise/{level}/audit.json",
            {"radius": radius, "separation": separation, "cut": None},
        )
    story = stage.plant(p, *given, tmp_path)
    assert (
        story["swap"]["planted"] == story["switch"]["planted"] == story["fragment"]["planted"] == 4
    )
    assert story["swap"]["tracklet"] == {"repaired": 4, "removed": 4, "home": 0}
    assert (
        story["swap"]["cross_video"]
        == story["fragment"]["video"]
        == {"repaired": 4, "removed": 0, "home": 4}
    )
    assert set(story["bystanders"]["dropped"]) == set(tables.LEVELS)
    assert stage.plant(p, *given, tmp_path) == story
