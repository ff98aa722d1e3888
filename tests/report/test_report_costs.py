"""What models cost and saw: sums over pre-training and runs, unknown if others trained."""

from __future__ import annotations

import pytest

from cion_core import work
from cion_core.errors import CionError
from cion_core.report import comparison, costs
from cion_core.report.comparison import Evaluation
from cion_core.report.costs import Cost


@pytest.fixture
def found(data, settings) -> dict[Evaluation, Cost]:
    return costs.read_costs(settings, data)


def test_every_evaluation_has_its_cost(found, settings) -> None:
    assert list(found) == comparison.list_evaluations(settings)


def test_time_is_added_up_over_processes_and_the_runs_that_a_model_has_gone_through(found) -> None:
    cion = {
        one.state: cost
        for one, cost in found.items()
        if one.name.startswith("cion") and one.benchmark == "demo"
    }
    trained = 2 * 350 / 3600  # two processes for 350 seconds
    runs = 2 * 90 / 3600
    assert cion["frozen"] == Cost(
        4_921_408, 112_000_000, 207, 12, 700, 700 * 32, trained, "CPU", 3.25
    )
    assert cion["supervised"].hours == cion["unsupervised"].hours == pytest.approx(trained + runs)
    assert cion["adapted"].hours == pytest.approx(trained + 2 * runs), "which began with supervised"
    assert cion["adapted"].images == 207 and cion["adapted"].steps == 700


def test_a_method_sees_what_it_is_told(found) -> None:
    frozen = {one.name.split("-")[0]: cost for one, cost in found.items()
              if (one.benchmark, one.state) == ("demo", "frozen")}  # fmt: skip
    assert [(name, cost.images, cost.identities) for name, cost in frozen.items()] == [
        ("stripes", None, None),
        ("random", 0, None),
        ("dino", 207, None),
        ("tracklet", 207, 18),
        ("cion", 207, 12),
    ]
    assert (frozen["random"].hours, frozen["random"].device) == (0, "")
    assert (frozen["stripes"].hours, frozen["stripes"].parameters, frozen["stripes"].latency) == (
        None,
        0,
        0.4,
    )


def test_what_others_have_trained_cost_nobody_knows_what(copy, settings) -> None:
    card = {"extra": {"steps": 0, "batch": 32, "weights": {"source": "timm/x"}}}
    work.write_json(copy / "pretrain/dino-resnet10_ibn/card.json", card)
    dino = costs.read_costs(settings, copy)[Evaluation("demo", "supervised", "dino-resnet10_ibn")]
    assert (dino.images, dino.steps, dino.crops_seen, dino.hours) == (None, None, None, None)
    assert {
        costs.format_cost(dino, name)
        for name in ("images", "identities", "steps", "crops_seen", "hours")
    } == {"–"}


def test_both_kinds_of_device_are_told(copy, settings) -> None:
    work.write_json(copy / "costs/finetune/supervised/cion-resnet10_ibn.json",
                    {"seconds": 3600, "device": "cuda", "processes": 8})  # fmt: skip
    found = costs.read_costs(settings, copy)
    cion = found[Evaluation("demo", "supervised", "cion-resnet10_ibn")]
    assert cion.device == "CPU and GPU" and cion.hours == pytest.approx(8 + 700 / 3600)
    assert costs.title_of_hours(found) == "Time"


def test_a_missing_file_is_named(copy, settings) -> None:
    (copy / "costs/finetune/supervised/cion-resnet10_ibn.json").unlink()
    with pytest.raises(
        CionError, match=r"costs/finetune/supervised/cion-resnet10_ibn\.json: no such file"
    ):
        costs.read_costs(settings, copy)


def test_what_is_counted_has_nothing_timed(found) -> None:
    assert set(costs.COUNTED) & {"hours", "latency"} == set()
    assert costs.select_counted(found)[Evaluation("demo", "frozen", "cion-resnet10_ibn")] == {
        "images": 207,
        "identities": 12,
        "crops_seen": 22_400,
        "parameters": 4_921_408,
        "flops": 112_000_000,
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (9999, "9999"),
        (12_936, "12.9 k"),
        (11_177_024, "11.2 M"),
        (4_089_000_000, "4.1 G"),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert costs.format_count(count) == text


def test_times_are_told_in_hours_or_minutes() -> None:
    assert (costs.format_hours(3.25), costs.format_hours(0.5), costs.format_hours(0)) == (
        "3.2 h",
        "30.0 min",
        "0.0 min",
    )
