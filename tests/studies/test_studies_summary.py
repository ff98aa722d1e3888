"""Means, spreads and leads over seeds, by hand; the table; the picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from cion_core.report import studies as drawing
from cion_core.studies import summary

ROWS = [
    {
        "share": share,
        "method": method,
        "seed": seed,
        "videos": int(28 * share),
        "f1_crops": 50.0,
        "mAP": mAP,
        "rank1": 2 * mAP,
        "mINP": 1.0,
    }
    for share, method, seed, mAP in [
        (0.1, "lup", 0, 10.0),
        (0.1, "lup", 1, 14.0),
        (0.1, "cion", 0, 13.0),
        (0.1, "cion", 1, 13.0),
        (1.0, "lup", 0, 20.0),
        (1.0, "lup", 1, 20.0),
        (1.0, "cion", 0, 30.0),
        (1.0, "cion", 1, 32.0),
    ]
]


@pytest.fixture
def told() -> dict:
    return {
        "name": "scale",
        "title": "How much",
        "about": "what more gives",
        "axis": ["share", "share of the videos"],
        "panel": None,
        "columns": ["share"],
        "numbers": {"videos": ("videos", 0), "f1_crops": ("F1, crops", 1)},
        "backbone": "resnet10_ibn",
        "benchmark": "demo",
        "seeds": 2,
        "styles": {"lup": None, "cion": {"colour": "#2f7fe0", "dash": "solid"}},
        "data": {},
        "rows": ROWS,
        "means": summary.average_over_seeds(ROWS, ["share"]),
        "leads": summary.compare_methods(ROWS, ["share"]),
    }


def test_means_and_spreads(told: dict) -> None:
    first = told["means"][0]
    assert (first["share"], first["method"], first["seeds"], first["mAP"]) == (0.1, "lup", 2, 12.0)
    assert first["spread"] == pytest.approx(8**0.5, abs=0.01)  # √((2² + 2²) / 1)
    assert summary.average_over_seeds(ROWS[:1], ["share"])[0]["spread"] is None


def test_gains_are_paired_by_seed(told: dict) -> None:
    assert [(lead["by"], lead["ahead"], lead["of"]) for lead in told["leads"]] == [
        (1.0, 1, 2),
        (11.0, 2, 2),
    ]
    assert told["leads"][0]["spread"] == pytest.approx(8**0.5, abs=0.01)  # of +3 and −1


def test_the_table_for_a_terminal(told: dict) -> None:
    told["means"][0]["videos"] = 364.33  # as a mean over seeds may be
    text = summary.to_markdown(told)
    assert " 364 |        50.0 |" in text
    assert "12.0 ± 2.8" in text and "31.0 ± 1.4" in text
    assert "at share 1.0: cion over lup +11.0 ± 1.4 mAP, ahead in 2 of 2 seeds" in text
    assert len(summary.to_csv(told).splitlines()) == 1 + len(ROWS)
    assert summary.mean_scores(told)["mAP/cion 1.0"] == 31.0


def test_the_picture_is_an_svg_and_the_same_every_time(told: dict) -> None:
    drawn = drawing.draw_standalone(told)
    assert drawn == drawing.draw_standalone(told)
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "cion 31.0" in drawn and "how right the identities are" in drawn
    words = {**told, "axis": ["level", "identities after"], "columns": ["level"],
             "rows": pd.DataFrame(ROWS).assign(level="truth").to_dict("records"),
             "means": [{**mean, "level": "truth"} for mean in told["means"]]}  # fmt: skip
    assert ">true<" in drawing.draw_chart(words)
