"""Cutting at ID switches: each step against the rule written out; planted switches are found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.audit.sentences import sentence
from cion_core.denoise import Settings, cuts, denoise, switches, tracklet, unchanged
from cion_core.denoise.checks import PART, checked
from cion_core.neighbours.arrays import unit

LENGTH = 8  # crops of a tracklet in `footage`


def angled(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(max(float(a @ a), 1e-12) * max(float(b @ b), 1e-12)))


def slow(points: np.ndarray) -> tuple[int, float]:
    """The best cut of one tracklet: where its late part begins, and how alike the parts are."""
    best = (0, np.inf, np.inf)
    for at in range(cuts.SMALLEST_PART, len(points) - cuts.SMALLEST_PART + 1):
        found = [cosine(points[:at].sum(0), points[at:].sum(0))]
        for gone in range(len(points)):
            left = [row for row in range(len(points)) if row != gone]
            early, late = ([row for row in left if (row < at) == side] for side in (True, False))
            found.append(cosine(points[early].sum(0), points[late].sum(0)))
        if max(found) + cuts.NUDGE * found[0] < best[2]:
            best = at, max(found), max(found) + cuts.NUDGE * found[0]
    return best[:2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(4, 9), min_size=1, max_size=6))
def test_best_cuts_equal_the_rule_written_out(seed: int, sizes: list[int]) -> None:
    points = np.random.default_rng(seed).normal(0.3, 1, (sum(sizes), 3)).astype(np.float32)
    start = np.cumsum([0, *sizes])[:-1]
    parts = cuts.best_cuts(points, start)
    for k, rows in enumerate(np.split(points.astype(np.float64), start[1:])):
        at, alike = slow(rows)
        assert parts.at[k] - start[k] == at and parts.alike[k] == pytest.approx(alike, abs=1e-4)
        np.testing.assert_allclose(parts.early[k], unit(rows[:at].sum(0)[None])[0], atol=1e-5)
        np.testing.assert_allclose(parts.late[k], unit(rows[at:].sum(0)[None])[0], atol=1e-5)


def test_a_cut_by_hand() -> None:
    # Two people at 0° and 90° are cut between them; a single stranger, wherever it stands, leaves
    # the parts alike.
    parts = cuts.best_cuts(angled(0, 0, 0, 90, 90), np.array([0]))
    assert parts.at.tolist() == [3] and parts.alike[0] == pytest.approx(0, abs=1e-6)
    for place in range(5):
        strange = angled(*(90 if k == place else 0 for k in range(5)))
        assert cuts.best_cuts(strange, np.array([0])).alike[0] > 0.89


def test_a_long_tracklet_is_looked_at_in_even_steps() -> None:
    half = 2 * cuts.LONGEST
    parts = cuts.best_cuts(angled(*[0] * half, *[90] * half), np.array([0]))
    assert parts.at.tolist() == [half]


def test_an_exchange_by_hand() -> None:
    # Video 0: two people have exchanged their tracklets (0°|90° and 90°|0°). Video 1: one tracklet.
    points = angled(0, 0, 90, 90, 90, 90, 0, 0, 45, 45, 45, 45)
    parts = cuts.best_cuts(points, np.array([0, 4, 8]))
    assert parts.at.tolist() == [2, 6, 10]
    gain = cuts.gain_of_exchange(parts, np.array([0, 0, 1]))
    # The halves agree crosswise, and neither tracklet agrees with itself.
    np.testing.assert_allclose(gain, [2, 2, -1], atol=1e-6)
    score, at = cuts.score_cuts(points, np.array([0, 4, 8]), np.array([0, 0, 1]))
    np.testing.assert_allclose(
        score, [1 + 2 * cuts.EXCHANGE_WEIGHT] * 2 + [-cuts.EXCHANGE_WEIGHT], atol=1e-6
    )
    assert at.tolist() == [2, 6, 10]


def test_people_who_exchanged_at_other_times_are_found_too() -> None:
    # In time the parts stand the other way round: early goes with early, late with late.
    parts = cuts.best_cuts(angled(0, 0, 90, 90, 0, 0, 90, 90), np.array([0, 4]))
    np.testing.assert_allclose(cuts.gain_of_exchange(parts, np.zeros(2, int)), [2, 2], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(4, 9), min_size=1, max_size=9))
def test_made_switches_exchange_what_follows(seed: int, sizes: list[int]) -> None:
    start, videos = (
        np.cumsum([0, *sizes])[:-1],
        np.sort(np.random.default_rng(seed).integers(0, 3, len(sizes))),
    )
    rows, begin, of = switches.make_switches(start, sum(sizes), videos)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    made = np.split(rows, begin[1:]) if len(begin) else []
    assert len(made) == sum(n - n % 2 for n in np.bincount(videos)) and len(np.unique(rows)) == len(
        rows
    )
    assert (np.diff(of) >= 0).all()
    for one, video in zip(made, of, strict=True):
        first, second = owner[one[0]], owner[one[-1]]
        early, late = one[owner[one] == first], one[owner[one] == second]
        assert first != second and videos[first] == videos[second] == video
        assert len(early) >= cuts.SMALLEST_PART and len(late) >= cuts.SMALLEST_PART
        np.testing.assert_array_equal(one, np.append(early, late))
        assert early[0] == start[first] and late[-1] == start[second] + sizes[second] - 1


def test_the_limit_by_hand() -> None:
    # 10 of 100 tracklets lie where the made switches do, which lie at 1.01 ... 2.00: all of them
    # are found, and the limit is as low as is asked for: what 95 % of the made switches lie beyond.
    made = 1 + np.arange(1, 101) / 100
    found = switches.find_limit(np.append(np.full(90, 0.2), np.linspace(1.2, 2, 10)), made)
    assert found.threshold == pytest.approx(1.06) and "10.0% of the tracklets" in found.how
    # Of tracklets between 1.2 and 1.3 there are more than that share of switches has: at most 2 of
    # them are cut.
    crowd = np.concatenate([np.full(80, 0.2), np.linspace(1.2, 1.3, 10), np.linspace(1.31, 2, 10)])
    found = switches.find_limit(crowd, made)
    assert (crowd[:-10] >= found.threshold).sum() <= 2


@pytest.mark.parametrize(
    "given", [np.full(49, 0.1), np.full(100, 0.1)], ids=["too few", "no switch"]
)
def test_where_nothing_can_be_cut_the_limit_cuts_none(given: np.ndarray) -> None:
    found = switches.find_limit(given, np.full(60, 1.8))
    assert found.threshold == switches.CUTS_NOTHING and found.how.startswith("cuts none")


def footage(
    seed: int = 0, tracklets: int = 60, planted: int = 12
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Crops in two videos, each tracklet of a person of its own, and which crops were exchanged.

    The first `planted` tracklets have exchanged their last halves, two and two.
    """
    rng = np.random.default_rng(seed)
    look = rng.standard_normal((tracklets, 64))
    who = np.repeat(np.arange(tracklets), LENGTH)
    crops = pd.DataFrame({
        "crop": np.arange(len(who)) + 5, "video": np.where(who < tracklets // 2, "a", "b"),
        "frame": np.tile(np.arange(LENGTH), tracklets), "tracklet": who + 3,
    })  # fmt: skip
    moved = (who < planted) & (crops.frame >= LENGTH // 2).to_numpy()
    person = np.where(moved, who ^ 1, who)
    return (
        crops,
        (look[person] + 0.3 * rng.standard_normal((len(who), 64))).astype(np.float32),
        moved,
    )


def level(crops: pd.DataFrame, features: np.ndarray, **limits: object) -> tracklet.Level:
    table, unit_features = checked(crops, features)
    return tracklet.denoise_tracklets(
        table, unit_features, table.tracklet.to_numpy(), Settings(**limits)
    )


def test_planted_switches_are_cut_where_they_are_and_nothing_else() -> None:
    crops, features, moved = footage()
    done = level(crops, features, radius={"tracklet": 1.0})
    cut = (done.ledger.action == "cut").to_numpy()
    assert 8 <= crops.tracklet[cut].nunique() <= 12  # the limit forgoes one in twenty
    wanted = crops.tracklet.to_numpy().copy()
    wanted[moved] = PART + np.repeat(crops.crop.to_numpy()[moved][:: LENGTH // 2], LENGTH // 2)
    np.testing.assert_array_equal(done.labels, np.where(cut, wanted, crops.tracklet))
    assert not cut[~moved].any() and (done.ledger.action[~cut] == "kept").all()
    told = done.ledger[cut]
    assert (told.rule == "switch").all() and (told.limit == done.thresholds.cut).all()
    np.testing.assert_array_equal(told.other, crops.tracklet[cut])
    assert (told.distance >= told.limit).all()
    assert sentence(told.iloc[0]).startswith(f"cut off from tracklet {told.other.iloc[0]}: ")
    assert (
        done.before.identities == 60 and done.after.identities == 60 + crops.tracklet[cut].nunique()
    )
    uncut = level(crops, features, cut={"tracklet": 4})
    assert done.before.largest_radius == pytest.approx(uncut.before.largest_radius)


def test_the_order_of_rows_does_not_matter_and_a_given_limit_holds() -> None:
    crops, features, _ = footage()
    order = np.random.default_rng(1).permutation(len(crops))
    done, again = level(crops, features), level(crops.iloc[order], features[order])
    np.testing.assert_array_equal(done.labels, again.labels)
    fixed = level(crops, features, cut={"tracklet": done.thresholds.cut}, radius={"tracklet": 1.0})
    np.testing.assert_array_equal(fixed.labels >= PART, done.ledger.action == "cut")
    never = level(crops, features, cut={"tracklet": 4}, radius={"tracklet": 1.0})
    np.testing.assert_array_equal(never.labels, crops.tracklet)


def test_no_crops_one_crop_and_crops_alike_are_cut_nowhere() -> None:
    crops, features, _ = footage()
    alike = np.ones((len(crops), 4), np.float32)
    for some, values in ((crops[:0], features[:0]), (crops[:1], features[:1]), (crops, alike)):
        assert level(some, values).thresholds.cut == switches.CUTS_NOTHING


def test_parts_are_numbered_anew_where_crops_and_tracklets_are() -> None:
    crops, features, _ = footage()
    done = level(crops, features)
    part = done.labels >= PART
    assert part.any()
    shifted = unchanged.renumber(
        done,
        pd.Series(crops.crop.to_numpy() + 100, crops.crop),
        pd.Series(np.unique(crops.tracklet) + 10, np.unique(crops.tracklet)),
    )
    np.testing.assert_array_equal(shifted.labels[part], done.labels[part] + 100)
    np.testing.assert_array_equal(shifted.labels[~part], done.labels[~part] + 10)
    np.testing.assert_array_equal(shifted.ledger["to"], shifted.labels)


def test_videos_that_come_later_are_cut_at_the_earlier_limit() -> None:
    crops, features, moved = footage()
    later, other, planted = footage(seed=1, planted=4)
    later = later.assign(
        crop=later.crop + 1000, tracklet=later.tracklet + 1000, video="later " + later.video
    )
    both, values = pd.concat([crops, later], ignore_index=True), np.concatenate([features, other])
    before = denoise(crops, features)
    after = denoise(both, values, earlier=before)
    assert after.levels[0].thresholds.cut == before.levels[0].thresholds.cut < switches.CUTS_NOTHING
    cut = (after.levels[0].ledger.action == "cut").to_numpy()
    assert cut[len(crops) :].any() and not cut[~np.append(moved, planted)].any()
    np.testing.assert_array_equal(after.levels[0].labels[: len(crops)], before.levels[0].labels)
    assert (after.levels[-1].labels >= 0).all()
