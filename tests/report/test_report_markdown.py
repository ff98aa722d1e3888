"""comparison.md: a table per benchmark of what is shown, then which differences are real."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cion_core.report import comparison, costs, differences, markdown

SAW = ["Images", "Identities", "CPU time"]


@pytest.fixture(scope="module")
def rows(data, settings) -> list[dict]:
    return comparison.read_rows(settings, data)


@pytest.fixture(scope="module")
def text(rows, data, settings) -> str:
    return written(rows, differences.measure_certainty(settings, data, rows), settings, data)


def written(rows, measured, settings, data, **about) -> str:
    told = {
        name: comparison.load_json(data / f"benchmark/{name}/benchmark.json")
        for name in ("demo", "elsewhere")
    }
    cost = costs.read_costs(settings, data)
    cost |= {one: cost[replace(one, name=one.name.replace("vit_small", "resnet10_ibn"))]
             for one in map(comparison.Evaluation.from_row, rows)}  # fmt: skip
    return markdown.to_markdown(rows, measured, cost, told | about)


def tables(text: str) -> dict[str, list[list[str]]]:
    """The cells of each table, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("### "):
            found[line.removeprefix("### ")] = lines = []
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_a_table_per_benchmark_holds_what_is_shown(text, rows) -> None:
    found = tables(text)
    assert list(found) == ["demo", "elsewhere"]
    for benchmark, (head, rule, *lines) in found.items():
        assert head == [
            "Method",
            "Backbone",
            "Run (setting)",
            "mAP",
            "95 % interval",
            "Rank-1",
            *SAW,
        ]
        assert all(set(cell) <= set(":-") for cell in rule)
        shown = [row for row in comparison.select_shown(rows) if row["benchmark"] == benchmark]
        scores = [[f"{row[name]:.1f}" for name in ("mAP", "rank1")] for row in shown]
        assert [[line[3], line[5]] for line in lines] == scores
        assert [(line[0], line[1]) for line in lines] == [
            (row["method"], row["backbone"]) for row in shown
        ]
    runs = [list(dict.fromkeys(line[2] for line in found[name][2:])) for name in found]
    assert runs[0] == ["frozen", "supervised (finetuned)"]
    assert runs[1] == ["frozen", "unsupervised", "adapted", "supervised (transferred)"]
    cion = next(line for line in found["demo"] if line[0] == "cion")
    low, high = map(float, cion[4].split(" to "))
    assert low < 29.1 < high and cion[6:] == ["207", "12", "11.7 min"]
    assert found["elsewhere"][-1][6:] == ["207", "12", "14.7 min"], "with the run"


def test_tables_are_aligned_and_narrow_enough_for_a_terminal(text) -> None:
    for part in text.split("### ")[1:]:
        assert len({len(line) for line in part.splitlines() if line.startswith("|")}) == 1
    assert max(len(line) for line in text.splitlines()) <= 120


def test_lines_say_which_differences_are_real(text) -> None:
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    beside = [line for line in lines if line.startswith("- cion − ")]
    assert len(beside) == 2 * 4 + 3 * 3, (
        "four others frozen, three after the runs; none for what is transferred"
    )
    assert beside[0].startswith("- cion − stripes, frozen on demo: +19.2 (") and beside[0].endswith(
        ")"
    )
    assert beside[3].startswith("- cion − tracklet, frozen on demo: +0.2 (−") and beside[
        3
    ].endswith(", may be chance")
    assert [line.split(":")[0] for line in lines[len(beside) :]] == [
        "- cion, supervised − frozen on demo",
        "- cion, unsupervised − frozen on elsewhere",
        "- cion, adapted − supervised on elsewhere",
    ]
    assert "+15.3 (" in lines[-1]


def test_published_numbers_have_a_table_of_their_own(data, settings, rows, text) -> None:
    market = comparison.load_json(data / "benchmark/demo/benchmark.json") | {
        "people": {"train": 751, "test": 750}, "cameras": 6,
        "images": {"train": 12936, "query": 3368, "gallery": 19732},
    }  # fmt: skip
    told = written(
        rows, differences.measure_certainty(settings, data, rows), settings, data, demo=market
    )
    assert "#### Published on Market-1501\n\nOf others, in percent" in told
    own, other = (part.split("####")[0] for part in (told, text))
    assert own.rstrip() == other.split("### elsewhere")[0].rstrip(), (
        "the table of ours is as it was"
    )
    assert "| SOLIDER " in told and "SOLIDER README" in told and "Published" not in text


def test_several_backbones_are_named_in_the_lines(data, settings, rows) -> None:
    measured = differences.measure_certainty(settings, data, rows)
    other = [row | {"backbone": "vit_small"} for row in rows[:5] if row["backbone"] != "none"]
    renamed = {
        comparison.Evaluation.from_row(row): comparison.Evaluation.from_row(
            row | {"backbone": "vit_small"}
        )
        for row in rows
    }
    more = differences.Certainty(
        measured.scores | {renamed[one]: told for one, told in measured.scores.items()},
        measured.leads
        | {
            renamed[one]: replace(told, one=renamed[told.one])
            for one, told in measured.leads.items()
            if one.name != "stripes"
        },
        measured.gains,
    )
    text = written([*rows, *other], more, settings, data)
    for backbone, methods in {"vit_small": ["dino"], "resnet10_ibn": ["dino", "stripes"]}.items():
        for method in methods:
            assert f"- cion {backbone} − {method}, frozen on demo: " in text


def test_without_cion_there_are_tables_alone(data, settings) -> None:
    pretrain = settings.pretrain.model_copy(update={"methods": ["random", "dino"]})
    p = settings.model_copy(update={"pretrain": pretrain})
    rows = comparison.read_rows(p, data)
    text = written(rows, differences.measure_certainty(p, data, rows), p, data)
    assert list(tables(text)) == ["demo", "elsewhere"] and "chance" not in text
