"""Published numbers: a benchmark is known by what it holds; what is cited is in the files."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from cion_core.benchmark.stage import describe
from cion_core.report import published

MARKET = {
    "people": {"train": 751, "test": 750},
    "images": {"train": 12936, "query": 3368, "gallery": 19732},
    "cameras": 6,
}
MSMT17 = {
    "people": {"train": 1041, "test": 3060},
    "images": {"train": 32621, "query": 11659, "gallery": 82161},
    "cameras": 15,
}


def counts(people: tuple[int, int], images: tuple[int, int, int], cameras: int) -> dict:
    """A made-up table of images of these counts, as the benchmark stage describes it."""
    parts = []
    for split, n, who in zip(
        ("train", "query", "gallery"), images, (people[0], people[1], people[1]), strict=True
    ):
        at = np.arange(n)
        parts.append(
            pd.DataFrame({"split": split, "person": 1 + at % who, "camera": 1 + at % cameras})
        )
    return describe(pd.concat(parts, ignore_index=True))


@pytest.mark.parametrize("gallery", [19732, 15913])  # with its junk images, or without
def test_market_is_known_by_its_counts(gallery: int) -> None:
    assert (
        published.recognise({"name": "mine", **counts((751, 750), (12936, 3368, gallery), 6)})
        == "market"
    )


def test_msmt17_is_known_by_its_counts() -> None:
    assert (
        published.recognise({"name": "mine", **counts((1041, 3060), (32621, 11659, 82161), 15)})
        == "msmt"
    )


@pytest.mark.parametrize(
    "other",
    [
        {**MARKET, "name": "market", "cameras": 5},
        {**MARKET, "people": {"train": 751, "test": 749}},
        # Market-1501 without its distractors.
        {**MARKET, "images": {"train": 12936, "query": 3368, "gallery": 13115}},
        # MSMT17 without list_val.
        {**MSMT17, "images": {"train": 30248, "query": 11659, "gallery": 82161}},
        {**MSMT17, "people": MARKET["people"]},
    ],
)
def test_a_name_makes_nothing_a_benchmark(other: dict) -> None:
    assert published.recognise(other) is None


def test_every_row_of_other_pretrainings_is_cited_as_it_is() -> None:
    with open(published.HERE / "pretraining.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cited = [one for one in published.select_results("msmt", []) if one.pretraining != "CION"]
    assert [(one.pretraining, one.mAP, one.source) for one in cited] == [
        (row["pretraining"], float(row["msmt_map"]), row["source"]) for row in rows
    ]
    assert "PersonMAE" in [one.pretraining for one in cited]
    assert "PersonMAE" not in [one.pretraining for one in published.select_results("market", [])], (
        "its field is empty there"
    )
    assert next(one for one in cited if one.pretraining == "SOLIDER").rank1 is None


def test_cions_own_are_those_of_the_backbones_that_are_compared_and_of_two_references() -> None:
    found = [
        one
        for one in published.select_results("market", ["vit_small", "resnet10_ibn"])
        if one.pretraining == "CION"
    ]
    assert {one.model for one in found} == {"vit_small", "resnet50", "resnet50_ibn"}
    assert all(one.source for one in found)
    mgn = next(one for one in found if (one.model, one.finetuning) == ("resnet50_ibn", "MGN@384"))
    assert (mgn.mAP, mgn.rank1) == (93.3, 97.3)


def test_ours_are_of_the_same_idea_and_backbone_after_training_on_the_benchmark() -> None:
    row = {
        "method": "lup",
        "backbone": "resnet50",
        "run": "mgn",
        "setting": "finetuned",
        "mAP": 61.04,
        "rank1": 80.0,
    }
    rows = [row, {**row, "run": "frozen", "setting": "frozen"}, {**row, "backbone": "resnet101"},
            {**row, "run": "bot", "mAP": 60.0}, {**row, "method": "cion"}]  # fmt: skip
    lup = next(
        one
        for one in published.select_results("market", [])
        if (one.pretraining, one.backbone) == ("LUP", "ResNet50")
    )
    assert published.format_ours(lup, rows) == "mgn 61.0, 80.0; bot 60.0, 80.0"
    solider = next(
        one for one in published.select_results("market", []) if one.pretraining == "SOLIDER"
    )
    assert published.format_ours(solider, rows) == "", "none of ours is of that idea"


def test_names_of_backbones_are_the_zoos() -> None:
    from cion_core.zoo import names

    cited = {
        one.model
        for name in published.SETS
        for one in published.select_results(name, list(names.ZOO))
    }
    assert cited - {""} <= set(names.ZOO)
    assert published.results()["resnet50"]["params_m"] == 23.51
