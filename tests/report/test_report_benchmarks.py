"""The comparison as the page shows it: states, cells and signs, and how it degrades."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cion_core.report import benchmark_table, benchmarks, comparison, costs, differences, plots
from cion_core.report.benchmarks import BenchmarkSection


@pytest.fixture(scope="module")
def rows(data, settings) -> list[dict]:
    return comparison.read_rows(settings, data)


@pytest.fixture(scope="module")
def certainty(data, settings, rows) -> differences.Certainty:
    return differences.measure_certainty(settings, data, rows)


@pytest.fixture(scope="module")
def told(data, settings, rows, certainty) -> dict[str, BenchmarkSection]:
    methods = comparison.describe_methods(settings, data)
    cost = costs.read_costs(settings, data)
    styles = plots.choose_styles(methods)
    sections = benchmarks.describe_benchmarks(
        settings, data, rows, certainty, cost, methods, styles
    )
    return {section.about["name"]: section for section in sections}


def test_states_say_what_was_done_and_what_they_began_with(told) -> None:
    assert [(s.name, s.training, s.start, s.away) for s in told["elsewhere"].states] == [
        ("frozen", "as pre-training left it", "", False),
        ("unsupervised", "without labels, on elsewhere", "frozen", False),
        ("adapted", "adapted without labels, demo → elsewhere", "supervised", False),
        ("supervised", "trained on demo alone", "frozen", True),
    ]


def test_cells_are_in_the_order_of_states_with_the_best_and_their_intervals(told, rows) -> None:
    lines = {line.method: line for line in told["demo"].lines}
    assert list(lines) == ["stripes", "random", "dino", "tracklet", "cion"]
    assert lines["stripes"].cells[1] == [None, None] and lines["stripes"].gains == [None, None]
    frozen = {row["method"]: row for row in rows[:5]}
    for method, line in lines.items():
        mean, first = line.cells[0]
        assert (mean.value, first.value) == (frozen[method]["mAP"], frozen[method]["rank1"])
        assert mean.best == (method == "cion") and mean.low < mean.value < mean.high
        assert first.mark == ""
    assert (
        lines["cion"].pretraining == ["207", "12", "11.7 min"]
        and lines["stripes"].pretraining == ["–"] * 3
    )
    assert lines["cion"].gains[0] is None and lines["cion"].gains[1].points == pytest.approx(30)


def test_a_sign_says_on_which_side_of_cion_a_model_stands(data, settings, rows, certainty) -> None:
    methods = comparison.describe_methods(settings, data)
    dino = comparison.Evaluation("demo", "frozen", "dino-resnet10_ibn")
    above = replace(certainty, leads={dino: replace(certainty.leads[dino], points=-10.0)})
    cost = costs.read_costs(settings, data)
    first = benchmarks.describe_benchmarks(
        settings, data, rows, above, cost, methods, plots.choose_styles(methods)
    )[0]
    marks = {line.method: line.cells[0][0].mark for line in first.lines}
    assert marks == dict.fromkeys(marks, "") | {"dino": benchmark_table.UP}


def test_what_lies_below_cion_is_marked(told) -> None:
    marks = {
        line.method: [cells[0] and cells[0].mark for cells in line.cells]
        for line in told["demo"].lines
    }
    down = benchmark_table.DOWN
    assert marks == {"stripes": [down, None], "random": [down] * 2, "dino": [down] * 2,
                     "tracklet": ["", ""], "cion": ["", ""]}  # fmt: skip


def test_cameras_are_those_of_cions_best_state(told) -> None:
    assert {name: (one.searched["method"], one.searched["run"]) for name, one in told.items()} == {
        "demo": ("cion", "supervised"), "elsewhere": ("cion", "adapted")
    }  # fmt: skip


def test_headline_and_rivals_are_of_the_first_benchmark(rows, certainty) -> None:
    assert benchmarks.find_headline(rows) == rows[4]
    assert [name for name, _ in benchmarks.rank_rivals(rows, certainty)] == [
        "tracklet",
        "dino",
        "random",
        "stripes",
    ]
    others = [row for row in rows if row["method"] != "cion"]
    assert (
        benchmarks.find_headline(others) is None and benchmarks.rank_rivals(others, certainty) == []
    )
