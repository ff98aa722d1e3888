"""Intervals and paired tests against hand cases, scipy, and simulated truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cion_core.evaluate.certainty import METRICS, holm, intervals, paired
from cion_core.evaluate.metrics import Scores


def scores_of(ap: np.ndarray | list[float]) -> Scores:
    """Scores with this AP; NaN is excluded.

    A query is found at once if its AP is above a half, else at rank 7.
    """
    ap = np.asarray(ap, float)
    return Scores(ap, ap / 2, np.where(np.isnan(ap), 0, np.where(ap > 0.5, 1, 7)))


def of_people(rng: np.random.Generator, people: int, share: float) -> tuple[Scores, np.ndarray]:
    """4 queries of each person; AP is 0.5 on average, `share` of its variance is the person's."""
    person = np.repeat(np.arange(people), 4)
    looks = np.sqrt(share) * rng.normal(size=people)[person]
    return scores_of(
        0.5 + 0.1 * (looks + np.sqrt(1 - share) * rng.normal(size=len(person)))
    ), person


def test_values_are_the_summary() -> None:
    scores, person = of_people(np.random.default_rng(0), 20, 0.5)
    told = intervals(scores, person)
    assert list(told) == list(METRICS) == list(scores.summary())
    assert {metric: each["value"] for metric, each in told.items()} == pytest.approx(
        scores.summary()
    )
    assert all(each["low"] <= each["value"] <= each["high"] for each in told.values())


def test_intervals_of_two_people_by_hand() -> None:
    """Two people, of AP 1 and of AP 0.

    A draw has both (half of all draws), or one of them twice (a quarter each).
    """
    told = intervals(scores_of([1, 0]), np.array([5, 9]))
    assert told["mAP"] == {"value": 50.0, "low": 0.0, "high": 100.0}
    assert told["rank10"] == {"value": 100.0, "low": 100.0, "high": 100.0}


def test_a_person_comes_with_all_queries() -> None:
    """Three queries of AP 1 and one of AP 0 are 75 % with both people drawn.

    No draw has, say, two of the three.
    """
    told = intervals(scores_of([1, 1, 1, 0]), np.array([5, 5, 5, 9]))
    assert told["mAP"] == {"value": 75.0, "low": 0.0, "high": 100.0}


@pytest.mark.parametrize("sizes", [np.ones(40, int), np.random.default_rng(3).integers(1, 7, 40)])
def test_as_scipys_percentile_bootstrap(sizes: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), sizes)
    ap = np.clip(rng.beta(2, 1, 40)[person] + 0.1 * rng.normal(size=len(person)), 0, 1)
    sums = np.bincount(person, ap)
    wanted = stats.bootstrap(
        (sums, sizes),
        lambda s, n, axis: 100 * s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=50_000,
        method="percentile",
        rng=1,
    ).confidence_interval
    got = intervals(scores_of(ap), person)["mAP"]
    assert (got["low"], got["high"]) == pytest.approx(
        (wanted.low, wanted.high), abs=0.05 * (wanted.high - wanted.low)
    )


@pytest.mark.parametrize("people", [6, 12])
def test_as_scipys_exact_permutation_test(people: int) -> None:
    rng = np.random.default_rng(people)
    ap = 0.5 + 0.1 * rng.normal(size=(2, people))
    ap[0] += 0.07
    exact = stats.permutation_test(
        (ap[0] - ap[1],),
        lambda d, axis: d.mean(axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    got = paired(scores_of(ap[0]), scores_of(ap[1]), np.arange(people))["mAP"]
    assert got["difference"] == pytest.approx(100 * exact.statistic)
    assert got["p"] == pytest.approx(exact.pvalue, abs=0.02) and 0.01 < exact.pvalue < 0.5


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 runs, those whose interval holds the true mAP.

    They are about 95 % if people are drawn, and far fewer if queries are.
    """
    rng, held = np.random.default_rng(0), {"people": 0, "queries": 0}
    for run in range(200):
        scores, person = of_people(rng, 60, share=0.5)
        for unit, who in (("people", person), ("queries", np.arange(len(person)))):
            told = intervals(scores, who, seed=run)["mAP"]
            held[unit] += told["low"] <= 50 <= told["high"]
    assert held["people"] >= 0.91 * 200 and held["queries"] < 0.86 * 200


def test_a_difference_that_is_not_there_is_found_as_seldom_as_it_says() -> None:
    rng, found = np.random.default_rng(1), {"people": 0, "queries": 0}
    for run in range(200):
        (one, person), (other, _) = of_people(rng, 40, share=0.5), of_people(rng, 40, share=0.5)
        for unit, who in (("people", person), ("queries", np.arange(len(person)))):
            found[unit] += paired(one, other, who, seed=run)["mAP"]["differs"]
    assert found["people"] <= 0.09 * 200 and found["queries"] > 0.12 * 200


def test_pairing_finds_what_two_intervals_hide() -> None:
    """One model is a bit better on everybody.

    The intervals overlap, and yet the difference is beyond doubt.
    """
    rng = np.random.default_rng(0)
    one, person = of_people(rng, 50, 0.5)
    other = scores_of(one.ap - 0.01 - 0.002 * rng.random(len(person)))
    told = paired(one, other, person)["mAP"]
    assert (
        told["differs"]
        and told["p"] < 0.001
        and 1 < told["low"] < told["difference"] < told["high"] < 1.2
    )
    assert intervals(other, person)["mAP"]["high"] > intervals(one, person)["mAP"]["low"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_other_way_round_is_the_opposite(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (one, person), (other, _) = of_people(rng, 8, 0.3), of_people(rng, 8, 0.3)
    there, back = paired(one, other, person), paired(other, one, person)
    for metric in METRICS:
        assert there[metric]["difference"] == pytest.approx(-back[metric]["difference"])
        assert (there[metric]["low"], there[metric]["high"]) == pytest.approx(
            (-back[metric]["high"], -back[metric]["low"])
        )
        assert there[metric]["p"] == back[metric]["p"] > 0


def test_a_model_does_not_differ_from_itself() -> None:
    scores, person = of_people(np.random.default_rng(0), 9, 0.5)
    same = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "differs": False}
    assert paired(scores, scores, person) == dict.fromkeys(METRICS, same)


def test_neither_excluded_queries_nor_peoples_numbers_count() -> None:
    scores, person = of_people(np.random.default_rng(0), 15, 0.5)
    other = scores_of(scores.ap[::-1])
    more = [scores_of(np.concatenate((each.ap, [np.nan, np.nan]))) for each in (scores, other)]
    # One who is in no other query, and one who is.
    who = np.concatenate((person * 10 + 3, [999, 13]))
    assert intervals(more[0], who) == intervals(scores, person)
    assert paired(*more, who) == paired(scores, other, person)


def test_the_same_seed_gives_the_same_and_another_nearly() -> None:
    scores, person = of_people(np.random.default_rng(0), 30, 0.5)
    first, again, anew = (intervals(scores, person, seed)["mAP"] for seed in (4, 4, 5))
    assert first == again != anew
    assert anew["low"] == pytest.approx(first["low"], abs=0.1 * (first["high"] - first["low"]))


def test_one_person_has_no_interval() -> None:
    one, person = scores_of([0.2, 0.9]), np.array([3, 3])
    assert intervals(one, person)["rank1"] == {"value": 50.0, "low": None, "high": None}
    assert paired(one, scores_of([0.1, 0.1]), person)["mAP"] == pytest.approx(
        {"difference": 45.0, "low": None, "high": None, "p": 1.0, "differs": False}
    )


def test_without_a_right_image_there_is_no_interval() -> None:
    nothing = scores_of([np.nan, np.nan])
    with pytest.raises(ValueError, match="no query has a right image"):
        intervals(nothing, np.array([1, 2]))
    with pytest.raises(ValueError, match="no query has a right image"):
        paired(nothing, nothing, np.array([1, 2]))


def test_a_pair_needs_the_same_queries() -> None:
    one = scores_of([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="something to find for 2, first row 1"):
        paired(one, scores_of([0.1, np.nan, np.nan]), np.arange(3))
    with pytest.raises(ValueError, match="one model has 3, the other 2"):
        paired(one, scores_of([0.1, 0.2]), np.arange(3))


def test_holm_by_hand() -> None:
    """Sorted, .005, .01, .03, .04 times 4, 3, 2, 1 are .02, .03, .06, .04.

    The last may not be below .06.
    """
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.02]) == pytest.approx([0.02])
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_its_steps_do(p: list[float]) -> None:
    """The published procedure: from the smallest on, while p <= 0.05 / (how many are left)."""
    rejected, left = set(), len(p)
    for i in sorted(range(len(p)), key=lambda i: p[i]):
        if left * p[i] > 0.05:
            break
        rejected.add(i)
        left -= 1
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= 0.05} == rejected
