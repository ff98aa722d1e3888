"""The rows of the comparison: order, rounding, and three files that say the same."""

import io
import json

import pandas as pd
import pytest

from cion_core import tables, work
from cion_core.errors import CionError
from cion_core.report import comparison, costs, labellings, plots, stage


@pytest.fixture
def rows(data, settings):
    return comparison.read_rows(settings, data)


METHODS = ["random", "dino", "tracklet", "cion"]


def listed(rows: list[dict]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((row["benchmark"], row["run"], row["setting"]) for row in rows))


def test_rows_come_by_benchmark_frozen_first_and_in_the_order_of_params(rows):
    assert listed(rows) == [
        ("demo", "frozen", "frozen"),
        ("demo", "supervised", "finetuned"),
        ("demo", "unsupervised", "transferred"),
        ("demo", "adapted", "transferred"),
        ("elsewhere", "frozen", "frozen"),
        ("elsewhere", "supervised", "transferred"),
        ("elsewhere", "unsupervised", "unsupervised"),
        ("elsewhere", "adapted", "adapted"),
    ]
    first, second = rows[:5], rows[5:9]
    assert [row["method"] for row in first] == ["stripes", *METHODS]
    assert [row["method"] for row in second] == METHODS
    assert {(row["recipe"], row["source"]) for row in rows if row["run"] == "adapted"} == {
        ("bag_of_tricks", "demo → elsewhere")
    }


def test_what_is_shown_leaves_out_what_a_run_without_labels_does_elsewhere_and_puts_the_rest_last(
    rows,
):
    assert listed(comparison.select_shown(rows)) == [
        ("demo", "frozen", "frozen"),
        ("demo", "supervised", "finetuned"),
        ("elsewhere", "frozen", "frozen"),
        ("elsewhere", "unsupervised", "unsupervised"),
        ("elsewhere", "adapted", "adapted"),
        ("elsewhere", "supervised", "transferred"),
    ]


def test_every_row_knows_its_evaluation(rows, settings):
    assert [comparison.Evaluation.from_row(row) for row in rows] == comparison.list_evaluations(
        settings
    )


def test_scores_are_rounded_to_two_decimals(rows):
    assert rows[1]["mAP"] == 14.12  # 14.123456
    assert list(rows[0])[-5:] == ["mAP", "rank1", "rank5", "rank10", "mINP"]


def test_json_and_csv_say_the_same_and_csv_what_was_counted(rows, data, settings):
    beside = costs.select_counted(costs.read_costs(settings, data))
    table = pd.read_csv(io.StringIO(comparison.to_csv(rows, beside)), keep_default_na=False)
    assert table.model.is_unique
    assert table[list(rows[0])].to_dict("records") == rows
    assert list(table)[1 + len(rows[0]) :] == [
        "images",
        "identities",
        "crops_seen",
        "parameters",
        "flops",
    ]
    assert table.set_index("model").identities.loc["cion resnet10_ibn adapted on demo"] == "12"


def test_a_method_no_longer_in_params_is_left_out(data, settings):
    pretrain = settings.pretrain.model_copy(update={"methods": ["cion"]})
    rows = comparison.read_rows(settings.model_copy(update={"pretrain": pretrain}), data)
    assert [r["method"] for r in rows] == 2 * ["stripes", *4 * ["cion"]]


def test_missing_evaluation_names_the_file(data, settings, tmp_path):
    with pytest.raises(
        CionError, match=r"evaluate/demo/frozen/stripes/metrics\.json: no such file.*dvc repro"
    ):
        comparison.read_rows(settings, tmp_path)


def test_torn_json_names_the_file(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(CionError, match=r"a\.json: not JSON"):
        comparison.load_json(tmp_path / "a.json")


def test_metrics_are_numbers_one_file_per_model_and_labelling(data, rows):
    files = comparison.metrics_by_file(rows, labellings.describe_labellings(data), None)
    assert sorted(f for f in files if f.startswith("denoise")) == [
        "denoise/0-before.json",
        "denoise/1-tracklet.json",
        "denoise/2-video.json",
        "denoise/3-cross_video.json",
    ]
    assert files["models/demo/stripes-frozen.json"]["mAP"] == 9.88
    assert files["models/elsewhere/cion-resnet10_ibn-adapted.json"]["mAP"] == 44.21
    assert sum(name.startswith("models/") for name in files) == len(rows)
    assert files["denoise/0-before.json"]["recall"] == 20.0
    assert files["denoise/0-before.json"]["bcubed"]["recall"] == 20.0
    assert "close_pairs" not in files["denoise/0-before.json"]  # level 1 knows no separation
    numbers = [v for values in files.values() for v in values.values() if not isinstance(v, dict)]
    assert all(isinstance(v, (int, float)) for v in numbers)


def test_metrics_tell_of_planted_errors(data, rows):
    states = labellings.describe_labellings(data)
    fate = {"repaired": 6, "removed": 1, "home": 2}
    planted = {
        "switch": {"planted": 8, **dict.fromkeys(tables.LEVELS, fate)},
        "swap": None,
        "fragment": None,
    }
    files = comparison.metrics_by_file(rows, states, planted)
    assert files["denoise/planted-switch.json"] == {"planted": 8} | dict.fromkeys(
        tables.LEVELS, 75.0
    )
    assert "denoise/planted-swap.json" not in files


def test_numbers_are_named_by_benchmark_run_and_model(rows):
    found = comparison.scores_by_name(rows)
    assert len(found) == 2 * len(rows) and found["demo/frozen/stripes/mAP"] == 9.88
    assert found["elsewhere/adapted/cion-resnet10_ibn/rank1"] == rows[-1]["rank1"]


def test_run_writes_the_files_and_show_prints_the_table(copy, settings, capsys):
    stale = copy / "reports/metrics/models/demo/gone-frozen.json"
    work.write_json(stale, {"mAP": 1})
    stage.run(settings, copy)
    rows = json.loads((copy / "reports/comparison.json").read_text())
    assert isinstance(rows, list) and len(rows) == 34
    assert pd.read_csv(copy / "reports/comparison.csv").model[0] == "stripes frozen on demo"
    assert not stale.exists()
    capsys.readouterr()
    stage.show(copy)
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines() if "index.html" not in line) <= 120
    assert (copy / "reports/comparison.md").read_text() in shown
    assert "make ui" in shown and "index.html" in shown


def test_show_before_anything_ran_says_what_to_do(tmp_path):
    with pytest.raises(CionError, match="dvc repro"):
        stage.show(tmp_path)


def test_a_method_is_drawn_as_it_says_or_as_its_name_picks(data, settings):
    drawn = plots.choose_styles(comparison.describe_methods(settings, data))
    assert drawn["cion"] == ("#2f7fe0", (0, (8, 1.5)))
    assert drawn["dino"][0] in plots.PALETTE and drawn["dino"][1] in plots.DASHES
    assert drawn == plots.choose_styles(comparison.describe_methods(settings, data))
