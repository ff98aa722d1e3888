"""Intervals, open-set curves and pairs of cameras as the page shows them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cion_core.evaluate.openset import BINS, Searches, identification
from cion_core.report import evaluation_charts
from cion_core.report.plots import INK

DRAWN = {"dino": ("#c2455e", "dashed"), "cion": ("#2f7fe0", "solid")}


def row(method: str, state: str, value: float, half: float | None = 1.5) -> dict:
    ends = (
        {"low": None, "high": None} if half is None else {"low": value - half, "high": value + half}
    )
    title = {"frozen": "frozen", "mgn": "mgn, fine-tuned on market"}[state]
    return {
        "method": method,
        "backbone": "resnet50",
        "state": state,
        "title": title,
        "value": value,
        **ends,
    }


ROWS = [row("dino", "frozen", 60.2), row("cion", "frozen", 71.4), row("cion", "mgn", 88.8)]


def texts(svg: str) -> list[str]:
    """What is written in a chart, which also has to be well-formed."""
    tree = ElementTree.fromstring(svg.replace("xlink:", ""))  # in HTML, links need no namespace
    return ["".join(node.itertext()).strip() for node in tree.iter() if node.tag == "text"]


def model(seed: int, searches: int = 2000) -> dict:
    rng = np.random.default_rng(seed)
    nothing = np.zeros(BINS, np.int64)
    return identification(
        Searches(rng.random(searches), rng.random(searches) + 0.3, nothing, nothing)
    )


def test_a_forest_names_and_numbers_every_row() -> None:
    svg = evaluation_charts.draw_forest(ROWS, DRAWN)
    written = texts(svg)
    assert [text for text in written if text in DRAWN] == ["dino", "cion", "cion"], (
        "in the order given"
    )
    for wanted in (
        "60.2 (58.7 to 61.7)",
        "71.4 (69.9 to 72.9)",
        "88.8 (87.3 to 90.3)",
        "frozen",
        ROWS[2]["title"],
    ):
        assert wanted in written
    assert "cion resnet50 mgn 88.8 (87.3 to 90.3)" in svg.split(">")[0], (
        "described for who does not see it"
    )
    assert INK not in svg and "currentColor" in svg


def test_a_row_without_an_interval_is_a_mark_alone() -> None:
    assert "60.2" in texts(
        evaluation_charts.draw_forest([row("dino", "frozen", 60.2, None)], DRAWN)
    )


def test_backbones_are_named_where_there_are_several() -> None:
    other = ROWS[0] | {"backbone": "vit_small"}
    assert {"dino resnet50", "dino vit_small"} <= set(
        texts(evaluation_charts.draw_forest([*ROWS, other], DRAWN))
    )
    stripes = ROWS[0] | {"backbone": "none"}
    assert "dino" in texts(evaluation_charts.draw_forest([*ROWS, stripes], DRAWN))


def test_open_set_curves_have_a_legend_and_a_scale_in_percent() -> None:
    told = {"dino": model(0), "cion": model(1)}
    svg = evaluation_charts.draw_open_set(told, DRAWN)
    assert {"dino", "cion", "1", "10", "100"} <= set(texts(svg))
    at = {point["fpir"]: point["tpir"] for point in told["cion"]["at"]}
    assert (
        at[0.1] is None
        and f"cion {at[1.0]:.1f} at 1 %, {at[10.0]:.1f} at 10 %" in svg.split(">")[0]
    )
    assert INK not in svg


def test_what_rests_on_few_false_alarms_is_faint_alone() -> None:
    """With 2,000 searches, fewer than ten false alarms decide below FPIR 0.5 %; with 9, always."""
    assert "opacity: 0.3" in evaluation_charts.draw_open_set({"cion": model(1)}, DRAWN)
    few = evaluation_charts.draw_open_set({"cion": model(1, searches=9)}, DRAWN)
    assert "opacity: 0.3" in few and "cion" in texts(few) and "cion at no rate" in few.split(">")[0]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: evaluation_charts.draw_forest(ROWS, DRAWN),
        lambda: evaluation_charts.draw_open_set({"dino": model(0)}, DRAWN),
    ],
)
def test_the_same_numbers_give_the_same_bytes(draw) -> None:
    assert draw() == draw()


PAIRS = [
    {"query": 1, "gallery": 2, "queries": 40, "mAP": 80.4, "rank1": 90.0},
    {"query": 1, "gallery": 3, "queries": 20, "mAP": 60.4, "rank1": 70.0},
    {"query": 2, "gallery": 3, "queries": 9, "mAP": 99.0, "rank1": 100.0},
    {"query": 3, "gallery": 2, "queries": 0, "mAP": None, "rank1": None},
    {"query": 2, "gallery": 1, "queries": 10, "mAP": 70.4, "rank1": 100.0},
]


def cells(html: str) -> dict[tuple[str, str], ElementTree.Element]:
    """The cells of a table by query and gallery camera."""
    table = ElementTree.fromstring(html)
    across = [head.text for head in table.findall(".//thead//th")][1:]
    found = {}
    for line in table.findall(".//tbody/tr"):
        found |= {
            (line.find("th").text, g): cell
            for g, cell in zip(across, line.findall("td"), strict=True)
        }
    return found


def test_cameras_are_shaded_from_the_lowest_to_the_highest() -> None:
    table = cells(evaluation_charts.tabulate_cameras(PAIRS))
    assert {(q, g) for q in "123" for g in "123"} == set(table)
    told = {pair: (cell.text, cell.get("style"), cell.get("class")) for pair, cell in table.items()}
    assert told["1", "2"] == ("80", "--share: 1.00", None)
    assert told["1", "3"] == ("60", "--share: 0.00", None)
    assert told["2", "1"] == ("70", "--share: 0.50", None)
    assert told["2", "3"] == ("99", "--share: 0.00", "few"), (
        "nine queries are too few to set the scale"
    )
    assert told["3", "2"] == ("·", "--share: 0", "none") and told["2", "2"][2] == "none"
    assert (
        table["1", "2"].get("title")
        == "camera 1 searched in camera 2: 40 queries, mAP 80.4 %, rank-1 90.0 %"
    )


def test_camera_pairs_may_be_shown_by_rank_1() -> None:
    assert cells(evaluation_charts.tabulate_cameras(PAIRS, "rank1"))["2", "1"].text == "100"


def test_cameras_that_are_all_alike_have_no_shade() -> None:
    table = cells(evaluation_charts.tabulate_cameras(PAIRS[:1]))
    assert table["1", "2"].get("style") == "--share: 0.00"


def test_the_style_uses_what_the_page_defines() -> None:
    page = evaluation_charts.__file__.replace("evaluation_charts.py", "page.html")
    with open(page) as file:
        defined = set(re.findall(r"(--\w+):", file.read()))
    assert (
        set(re.findall(r"var\((--\w+)\)", evaluation_charts.CAMERAS_STYLE)) - {"--share"} <= defined
    )
