"""Which differences are real: pairs on the same queries, corrected for their number, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core import tables
from cion_core.errors import CionError
from cion_core.evaluate import certainty, queries
from cion_core.report import comparison, differences
from cion_core.report.comparison import Evaluation
from cion_core.report.differences import Difference

CION, DINO, LUP = (Evaluation("demo", "frozen", f"{name}-tiny") for name in ("cion", "dino", "lup"))
NAMES = {CION: "cion", DINO: "dino", LUP: "lup"}


def table(ap: list[float]) -> pd.DataFrame:
    """One query each of as many people."""
    rows = [
        {"query": f"{i}.jpg", "person": i, "ap": value, "inp": value, "first": 1}
        for i, value in enumerate(ap)
    ]
    return pd.DataFrame(rows)


def test_one_pair_is_real_alone_and_not_beside_another_like_it() -> None:
    """Six people, each a tenth better: of 64 flips of signs two are as large.

    So p is 2/64 for one pair, and 4/64 for each of two.
    """
    found = {CION: table([0.5] * 6), DINO: table([0.4] * 6), LUP: table([0.4] * 6)}
    (alone,) = differences.compare_pairs([(CION, DINO)], found.get)
    assert alone.real and (alone.one, alone.other) == (CION, DINO)
    assert (alone.points, alone.low, alone.high) == pytest.approx((10.0, 10.0, 10.0))
    both = differences.compare_pairs([(CION, DINO), (CION, LUP)], found.get)
    assert [one.real for one in both] == [False, False]
    assert [one.points for one in both] == pytest.approx([10.0, 10.0])
    assert differences.compare_pairs([], found.get) == []


def test_pairs_go_by_the_name_of_the_query_and_not_by_its_place() -> None:
    ap = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    found = {CION: table(ap), DINO: table(ap)[::-1]}
    (same,) = differences.compare_pairs([(CION, DINO)], found.get)
    assert (same.points, same.low, same.high, same.real) == (0.0, 0.0, 0.0, False)


def test_other_queries_are_an_error_that_names_one() -> None:
    found = {CION: table([0.5] * 3), DINO: table([0.5] * 4)}
    with pytest.raises(CionError, match=r"3\.jpg: a query of one model and not of the other"):
        differences.compare_pairs([(CION, DINO)], found.get)


def test_cion_is_set_beside_each_method_and_each_run_beside_its_start(data, settings) -> None:
    measured = differences.measure_certainty(settings, data, comparison.read_rows(settings, data))
    states = {
        "demo": ["frozen", "supervised"],
        "elsewhere": ["frozen", "unsupervised", "adapted", "supervised"],
    }
    others = ["random", "dino", "tracklet"]
    assert list(measured.leads) == [
        Evaluation(benchmark, state, name)
        for benchmark, of in states.items()
        for state in of
        for name in (["stripes"] if state == "frozen" else [])
        + [f"{method}-resnet10_ibn" for method in others]
    ]
    assert {(found.one.state, found.other.state) for found in measured.leads.values()} == {
        (state, state) for state in states["elsewhere"]
    }
    assert {found.one.name for found in measured.leads.values()} == {"cion-resnet10_ibn"}
    assert {(one.state, found.other.state) for one, found in measured.gains.items()} == {
        ("supervised", "frozen"), ("unsupervised", "frozen"), ("adapted", "supervised")
    }  # fmt: skip
    assert {one.name == found.other.name and one.benchmark == found.other.benchmark
            for one, found in measured.gains.items()} == {True}  # fmt: skip
    own = Evaluation("elsewhere", "adapted", "cion-resnet10_ibn")
    assert measured.gains[own].points == pytest.approx(0.9 * (20 - 3)) and measured.gains[own].real
    near, far = (
        measured.leads[Evaluation("demo", "frozen", f"{name}-resnet10_ibn")]
        for name in ("tracklet", "random")
    )
    assert near.points == pytest.approx(29.12 - 28.9) and not near.real
    assert far.points == pytest.approx(29.12 - 14.123456) and far.real


def test_scores_have_the_intervals_of_their_queries(data, settings) -> None:
    measured = differences.measure_certainty(settings, data, comparison.read_rows(settings, data))
    one = Evaluation("demo", "supervised", "dino-resnet10_ibn")
    read = tables.read(tables.Queries, one.folder(data) / "queries.parquet")
    assert measured.scores[one] == certainty.intervals(
        queries.from_table(read), read.person.to_numpy()
    )
    assert Evaluation("demo", "adapted", "dino-resnet10_ibn") not in measured.scores, (
        "it is not shown"
    )


def test_with_several_backbones_each_has_its_own_cion_and_stripes_stand_beside_the_first() -> None:
    def row(method: str, backbone: str) -> dict:
        return {"method": method, "backbone": backbone, "benchmark": "demo", "run": "frozen"}

    rows = [
        row("stripes", "none"),
        *(row(method, b) for b in ("small", "large") for method in ("dino", "cion")),
    ]
    assert [(one.name, other.name) for one, other in differences.pair_with_own(rows)] == [
        ("cion-small", "stripes"), ("cion-small", "dino-small"), ("cion-large", "dino-large")
    ]  # fmt: skip
    assert differences.pair_with_own(rows[:2]) == [], (
        "without cion there is nothing to set others beside"
    )


def difference(other: Evaluation, by: float, real: bool, half: float | None = 2.0) -> Difference:
    ends = (None, None) if half is None else (by - half, by + half)
    return Difference(CION, other, by, *ends, real)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([difference(DINO, 3.14, True)], "stands 3.1 above dino (1.1 to 5.1)"),
        ([difference(DINO, -3.14, True)], "stands 3.1 below dino (1.1 to 5.1)"),
        ([difference(DINO, 3.14, True, None)], "stands 3.1 above dino"),
        ([difference(DINO, 1.0, False)], "is no more apart from dino than chance would have it"),
        (
            [difference(DINO, 3.0, True), difference(LUP, 0.5, False)],
            "stands 3.0 above dino (1.0 to 5.0), and is no more apart from lup than chance would "
            "have it",
        ),
        (
            [difference(DINO, 3.0, True), difference(LUP, -3.0, True)],
            "stands 3.0 above dino (1.0 to 5.0) and 3.0 below lup (1.0 to 5.0)",
        ),
    ],
)
def test_a_sentence_says_what_is_real_and_what_may_be_chance(
    found: list[Difference], said: str
) -> None:
    assert differences.describe_leads(found, NAMES) == said


def test_a_difference_as_text_has_a_real_minus_sign_and_no_minus_nothing() -> None:
    assert str(difference(DINO, -1.0, False)) == "−1.0 (−3.0 to 1.0)"
    assert str(difference(DINO, -0.01, False, None)) == "+0.0"


def test_lists_are_read_aloud() -> None:
    assert [differences.join_words(list(items)) for items in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_the_same_files_give_the_same_answer(data, settings) -> None:
    rows = comparison.read_rows(settings, data)
    assert differences.measure_certainty(settings, data, rows) == differences.measure_certainty(
        settings, data, rows
    )
    assert not any(
        np.isnan(found.points)
        for found in differences.measure_certainty(settings, data, rows).leads.values()
    )
