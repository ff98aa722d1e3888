"""Losses and schedules of the trainings."""

from __future__ import annotations

import pandas as pd

from cion_core.report import comparison, plots, trainings


def test_a_long_history_is_averaged_over_bins(tmp_path, settings):
    folder = tmp_path / "pretrain/cion-resnet10_ibn"
    folder.mkdir(parents=True)
    steps = range(2 * trainings.CURVE_POINTS)
    history = pd.DataFrame({"step": steps, "loss": [s % 2 for s in steps], "lr": 0.1})
    history.to_csv(folder / "history.csv", index=False)
    curve = trainings.read_losses(settings, tmp_path)
    assert len(curve) == trainings.CURVE_POINTS
    assert (curve.loss == 0.5).all()
    assert curve.step.tolist()[:2] == [0.5, 2.5]


def test_random_has_no_pretraining_curve(data, settings):
    runs = trainings.read_losses(settings, data).groupby("training").method.unique()
    assert "random" not in runs["pretrain"]
    assert list(runs.index) == ["adapted", "pretrain", "supervised", "unsupervised"]
    assert "random" in runs["adapted"]


def test_schedules_of_every_method_that_trained(data, settings):
    methods = comparison.describe_methods(settings, data)
    runs = trainings.read_schedules(settings, data, methods)
    assert set(runs) == {"dino", "tracklet", "cion"}
    assert list(runs["cion"]) == ["step", "lr", "K"]
    phases = methods["cion"]["phases"]
    assert runs["cion"].K.tolist() == [phases[0][1]] * round(phases[1][0] * 40) + [phases[1][1]] * (
        40 - round(phases[1][0] * 40)
    )
    assert set(runs["dino"].K) == {1}
    epochs = settings.model_copy(
        update={"pretrain": settings.pretrain.model_copy(update={"steps": "3 epochs"})}
    )
    assert "K" not in trainings.read_schedules(epochs, data, methods)["cion"]
    chart = plots.draw_schedules(runs, trainings.SCHEDULED, plots.choose_styles(methods))
    assert (
        "cion 0.001 to 0.001" in chart and "learning rate" in chart and "weight decay" not in chart
    )
