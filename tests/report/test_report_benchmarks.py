"""The comparison as the page shows it: states, cells and signs, and how it degrades."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cion_core.report import benchmarks, comparison, costs, differences, plots
from cion_core.report.benchmarks import Told


@pytest.fixture(scope="module")
def rows(data, settings) -> list[dict]:
    return comparison.comparison(settings, data)


@pytest.fixture(scope="module")
def sure(data, settings, rows) -> differences.Sure:
    return differences.sure(settings, data, rows)


@pytest.fixture(scope="module")
def told(data, settings, rows, sure) -> dict[str, Told]:
    methods = comparison.described(settings, data)
    found = benchmarks.told(settings, data, rows, sure, costs.costs(settings, data), methods, plots.styles(methods))
    return {one.about["name"]: one for one in found}


def test_states_say_what_was_done_and_what_they_began_with(told) -> None:
    assert [(s.name, s.done, s.before, s.away) for s in told["elsewhere"].states] == [
        ("frozen", "as pre-training left it", "", False),
        ("unsupervised", "without labels, on elsewhere", "frozen", False),
        ("adapted", "adapted without labels, demo → elsewhere", "supervised", False),
        ("supervised", "trained on demo alone", "frozen", True),
    ]


def test_cells_are_in_the_order_of_states_with_the_best_and_their_intervals(told, rows) -> None:
    lines = {line.method: line for line in told["demo"].lines}
    assert list(lines) == ["stripes", "random", "dino", "tracklet", "cion"]
    assert lines["stripes"].cells[1] == [None, None] and lines["stripes"].gave == [None, None]
    frozen = {row["method"]: row for row in rows[:5]}
    for method, line in lines.items():
        mean, first = line.cells[0]
        assert (mean.value, first.value) == (frozen[method]["mAP"], frozen[method]["rank1"])
        assert mean.best == (method == "cion") and mean.low < mean.value < mean.high
        assert first.mark == ""
    assert lines["cion"].saw == ["207", "12", "11.7 min"] and lines["stripes"].saw == ["–"] * 3
    assert lines["cion"].gave[0] is None and lines["cion"].gave[1].by == pytest.approx(30)


def test_a_sign_says_on_which_side_of_cion_a_model_stands_where_that_is_no_chance(data, settings, rows, sure) -> None:
    methods = comparison.described(settings, data)
    dino = comparison.Evaluation("demo", "frozen", "dino-resnet10_ibn")
    above = replace(sure, beside={dino: replace(sure.beside[dino], by=-10.0)})
    cost = costs.costs(settings, data)
    first = benchmarks.told(settings, data, rows, above, cost, methods, plots.styles(methods))[0]
    marks = {line.method: line.cells[0][0].mark for line in first.lines}
    assert marks == dict.fromkeys(marks, "") | {"dino": benchmarks.UP}


def test_marks_below_cion(told) -> None:
    marks = {line.method: [cells[0] and cells[0].mark for cells in line.cells] for line in told["demo"].lines}
    down = benchmarks.DOWN
    assert marks == {"stripes": [down, None], "random": [down] * 2, "dino": [down] * 2,
                     "tracklet": ["", ""], "cion": ["", ""]}  # fmt: skip


def test_cameras_are_those_of_cions_best_state(told) -> None:
    assert {name: (one.searched["method"], one.searched["run"]) for name, one in told.items()} == {
        "demo": ("cion", "supervised"), "elsewhere": ("cion", "adapted")
    }  # fmt: skip


def test_headline_and_rivals_are_of_the_first_benchmark(rows, sure) -> None:
    assert benchmarks.headline(rows) == rows[4]
    assert [name for name, _ in benchmarks.rivals(rows, sure)] == ["tracklet", "dino", "random", "stripes"]
    others = [row for row in rows if row["method"] != "cion"]
    assert benchmarks.headline(others) is None and benchmarks.rivals(others, sure) == []
