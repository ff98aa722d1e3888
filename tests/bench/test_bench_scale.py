"""The arithmetic of the plan for 100,000 videos."""

from __future__ import annotations

import json
from pathlib import Path

PLAN = {"seconds": 36_000, "crops": 720_000, "bytes_per_crop": 5_000, "feature_numbers": 500}
PRICES = {"core": 0.05, "GPU": 2.0}


def stage(**values) -> dict:
    return {
        "stage": "some",
        "unit": "crops",
        "device": "core",
        "rate": 100.0,
        "command": "python it.py",
    } | values


def test_hours_are_the_amount_over_the_rate_and_costs_go_by_the_device(bench) -> None:
    told = bench("scale").rows(
        PLAN, PRICES, [stage(), stage(device="GPU", rate=1000.0), stage(unit="seconds", rate=10.0)]
    )
    assert [row[3] for row in told] == ["2.0", "0.2", "1.0", "3.0", "0.2"]
    assert [row[4] for row in told] == ["0.1", "0.4", "0.05", "0.15", "0.4"]
    assert [row[0] for row in told[3:]] == ["all on cores", "all on GPUs"]


def test_what_is_done_several_times_over_costs_as_often(bench) -> None:
    once, often = bench("scale").rows(PLAN, PRICES, [stage(), stage(times=100)])[:2]
    assert float(often[3]) == 100 * float(once[3])


def test_a_rate_that_nobody_has_measured_is_said_and_left_out_of_the_sum(bench) -> None:
    known, unknown, total = bench("scale").rows(PLAN, PRICES, [stage(), stage(rate=None)])
    assert unknown[2:5] == ["not measured", "", ""]
    assert total[3] == known[3]


def test_every_stage_names_the_command_that_measures_it(bench, project: Path) -> None:
    told = json.loads((project / "bench/scale.json").read_text())
    assert told["stages"]
    for one in told["stages"]:
        assert one["command"] and one["unit"] in told["plan"] and one["device"] in told["prices"]


def test_the_table_of_the_docs_is_what_the_bench_prints(bench, project: Path) -> None:
    told = json.loads((project / "bench/scale.json").read_text())
    assert bench("scale").tables(told) in (project / "docs/scale.md").read_text()
