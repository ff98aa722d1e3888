"""The rows that MLflow gets of the comparison: what they say, and which of them are one."""

from __future__ import annotations

import json

import pytest

from cion_core.errors import CionError
from cion_core.report import comparison, costs, labellings, mlflow_rows, trainings


def made(settings, root) -> dict[str, object]:
    """The rows by name."""
    rows, states = comparison.read_rows(settings, root), labellings.describe_labellings(root)
    training, cost = trainings.read_losses(settings, root), costs.read_costs(settings, root)
    found = mlflow_rows.make_rows(settings, root, rows, states, training, cost)
    assert len({row.id for row in found}) == len(found) == len(rows), "no two are one"
    return {row.name: row for row in found}


def test_a_row_says_what_a_model_is_scored_and_cost(data, settings):
    rows = made(settings, data)
    row = rows["cion resnet10_ibn supervised on demo"]
    told = json.loads(
        (data / "evaluate/demo/supervised/cion-resnet10_ibn/metrics.json").read_text()
    )
    assert row.metrics == {
        "mAP": round(told["mAP"], 2),
        "Rank-1": round(told["rank1"], 2),
        "mINP": round(told["mINP"], 2),
        "parameters": 4_921_408,
        "FLOPs": 112e6,
        "latency ms": 3.25,
        "hours": pytest.approx(2 * (350 + 90) / 3600),
        "images": 207,
        "identities": 12,
        "steps": 700,
        "crops seen": 700 * 32,
        "seed": 0,
    }
    assert {name: row.params[name] for name in comparison.DESCRIPTION} == {
        name: told[name] for name in comparison.DESCRIPTION
    }
    assert set(row.data) == {"data/raw", "data/benchmark/demo"}
    assert "identities" not in rows["dino resnet10_ibn frozen on demo"].metrics, (
        "it is told nobody's"
    )


def test_stripes_have_learnt_nothing(data, settings):
    stripes = made(settings, data)["stripes frozen on demo"]
    assert set(stripes.data) == {"data/benchmark/demo"} and stripes.curves == {}
    assert not {"seed", "hours", "images"} & set(stripes.metrics)


def test_a_row_has_the_curve_of_its_last_training(data, settings):
    rows = made(settings, data)
    curves = {name: list(row.curves) for name, row in rows.items()}
    assert curves["cion resnet10_ibn frozen on demo"] == ["pre-training loss"]
    assert curves["random resnet10_ibn frozen on demo"] == [], "nobody has trained it"
    assert curves["random resnet10_ibn supervised on demo"] == ["supervised loss"]
    curve = rows["cion resnet10_ibn frozen on demo"].curves["pre-training loss"]
    assert [step for step, _ in curve] == list(range(1, 41))
    assert curve[0][1] > curve[-1][1]


def test_a_long_curve_is_thinned_to_its_ends(data, settings):
    training = trainings.read_losses(settings, data)
    few = training[(training.method == "cion") & (training.training == "pretrain")]
    long = few.loc[few.index.repeat(30)].assign(step=range(30 * len(few)))
    (curve,) = mlflow_rows.thin_curve(
        long, {"run": "frozen", "method": "cion", "backbone": "resnet10_ibn"}
    ).values()
    assert len(curve) == mlflow_rows.CURVE_POINTS and (curve[0][0], curve[-1][0]) == (
        0,
        30 * len(few) - 1,
    )


def test_label_f1_stands_where_a_method_goes_by_labels_and_the_truth_is_known(copy, settings):
    for method, labels in (("cion", "cross_video"), ("dino", "crop")):
        for path in copy.glob(f"evaluate/*/*/{method}-*/method.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "labels": labels}))
    truth = json.loads((copy / "audit/truth.json").read_text())
    rows = made(settings, copy)
    f1 = rows["cion resnet10_ibn frozen on demo"].metrics["label F1"]
    assert f1 == round(100 * truth["levels"]["cross_video"]["after"]["crops"]["f1"], 2)
    assert "label F1" not in rows["dino resnet10_ibn frozen on demo"].metrics
    (copy / "audit/truth.json").write_text("null")
    assert "label F1" not in made(settings, copy)["cion resnet10_ibn frozen on demo"].metrics


def test_other_settings_and_data_make_another_row_of_what_they_shape_alone(copy, settings):
    before = {name: row.id for name, row in made(settings, copy).items()}

    def changed() -> set[str]:
        return {name for name, row in made(settings, copy).items() if row.id != before[name]}

    assert changed() == set()
    steps = settings.pretrain.steps
    settings = settings.model_copy(
        update={"pretrain": settings.pretrain.model_copy(update={"steps": 7 * steps})}
    )
    assert changed() == {name for name in before if "stripes" not in name}
    settings = settings.model_copy(
        update={"pretrain": settings.pretrain.model_copy(update={"steps": steps})}
    )
    settings = settings.model_copy(
        update={"finetune": settings.finetune.model_copy(update={"seed": 3})}
    )
    assert changed() == {name for name in before if "frozen" not in name}
    settings = settings.model_copy(
        update={"finetune": settings.finetune.model_copy(update={"seed": 0})}
    )
    (copy / "benchmark/elsewhere/images.parquet").write_text("others")
    assert changed() == {name for name in before if name.endswith("on elsewhere")}
    (copy / "benchmark/elsewhere/images.parquet").unlink()
    with pytest.raises(CionError, match=r"elsewhere/images\.parquet: no such file"):
        made(settings, copy)


def test_the_headline_names_the_best_of_each_benchmark_and_our_own():
    what = {"backbone": "tiny", "run": "frozen", "rank1": 20.0}
    rows = [
        {**what, "method": "lup", "benchmark": "demo", "mAP": 12.0},
        {**what, "method": "cion", "benchmark": "demo", "mAP": 9.0},
        {**what, "method": "cion", "benchmark": "night", "mAP": 4.0},
    ]
    text, numbers = mlflow_rows.describe_best(rows)
    assert text.splitlines()[:4] == [
        "- Best on **demo**: lup tiny frozen on demo, mAP 12.0, Rank-1 20.0",
        "- Best of cion on **demo**: cion tiny frozen on demo, mAP 9.0, Rank-1 20.0",
        "- Best on **night**: cion tiny frozen on night, mAP 4.0, Rank-1 20.0",
        "- Best of cion on **night**: cion tiny frozen on night, mAP 4.0, Rank-1 20.0",
    ]
    assert numbers == {
        "best mAP/demo": 12.0,
        "best of cion mAP/demo": 9.0,
        "best mAP/night": 4.0,
        "best of cion mAP/night": 4.0,
    }
