"""mAP against what a model costs: drawn where there is a choice of backbones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cion_core.report import comparison, costs, efficiency, plots
from cion_core.report.comparison import Evaluation


@pytest.fixture
def rows(data, settings) -> list[dict]:
    return [
        row
        for row in comparison.select_shown(comparison.read_rows(settings, data))
        if row["benchmark"] == "elsewhere"
    ]


def test_one_backbone_is_no_choice(rows, data, settings) -> None:
    drawn = plots.choose_styles(comparison.describe_methods(settings, data))
    assert efficiency.draw_efficiency(rows, costs.read_costs(settings, data), drawn) == ""


def test_three_panels_for_each_state_that_was_meant_for_the_benchmark(rows, data, settings) -> None:
    drawn, found = (
        plots.choose_styles(comparison.describe_methods(settings, data)),
        costs.read_costs(settings, data),
    )
    large = [
        {**row, "backbone": "resnet50", "mAP": row["mAP"] + 5}
        for row in rows
        if row["backbone"] != "none"
    ]
    for row in large:
        one = Evaluation.from_row({**row, "backbone": "resnet10_ibn"})
        found[Evaluation.from_row(row)] = replace(
            found[one], parameters=23_508_032, flops=4_089_000_000, latency=21.0
        )
    text = efficiency.draw_efficiency([*rows, *large], found, drawn)
    told = text[: text.index(">")]
    assert (
        "cion resnet50 adapted" in told
        and " at 4.1 G" in told
        and "cion resnet10_ibn frozen 26.2 at 112.0 M" in told
    )
    assert "stripes" not in told and " supervised " not in told, (
        "no backbone; trained for the other benchmark alone"
    )
    words = re.findall(r">([^<>]+)</text>", text)
    assert {"frozen", "unsupervised", "adapted", "resnet10_ibn", "resnet50", "cion"} <= set(words)
    assert [word for word in words if word in efficiency.AXES.values()] == list(
        efficiency.AXES.values()
    )
    assert efficiency.draw_efficiency([*rows, *large], found, drawn) == text
