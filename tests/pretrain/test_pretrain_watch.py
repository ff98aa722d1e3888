"""Watching without labels: numbers by hand, held-out tracklets, failures called by name."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cion_core.pretrain import stage
from cion_core.pretrain.watch import (
    FeatureProbe,
    diagnose,
    first_and_last,
    hold_out,
    measure_features,
)
from cion_core.training import loop

BACKBONE = "resnet10_ibn"


def test_numbers_of_features_by_hand():
    axes = np.eye(4)
    found = measure_features(np.concatenate([axes, 3 * axes]))  # length does not count
    assert found["probe_rank1"] == 1
    # Four axes, less their mean, span three directions.
    assert found["feature_rank"] == pytest.approx(3)
    assert found["feature_spread"] == pytest.approx(4**0.5 * (3 / 16) ** 0.5)
    swapped = measure_features(np.concatenate([axes, axes[[1, 0, 2, 3]]]))
    assert swapped["probe_rank1"] == 0.5
    same = measure_features(np.ones((6, 4)) + 1e-9 * np.arange(6)[:, None] * np.array([1, 0, 0, 0]))
    assert same["feature_spread"] < 1e-6 and same["feature_rank"] < 1.1
    line = measure_features(
        np.stack([np.cos(t := np.linspace(0, 1, 8)), np.sin(t)] + [0 * t] * 3, 1)
    )
    assert 1 < line["feature_rank"] < 2
    assert all(math.isnan(value) for value in measure_features(np.full((4, 2), np.nan)).values())


def test_held_out_tracklets_are_whole_and_alike_for_all():
    crops = pd.DataFrame(
        {"tracklet": np.repeat(np.arange(100), [1, 2, 3, 4] * 25)}, index=np.arange(250) + 7
    )
    rows = hold_out(crops, 0.1, seed=0)
    chosen = np.unique(crops.tracklet.iloc[rows])
    assert len(chosen) == 10 and crops.tracklet.isin(chosen).sum() == len(rows)
    assert (crops.tracklet.iloc[rows].value_counts() > 1).all()
    assert (rows == hold_out(crops, 0.1, seed=0)).all() and set(rows) != set(
        hold_out(crops, 0.1, seed=1)
    )
    assert not len(hold_out(crops, 0.0, seed=0))


def test_first_and_last_crop_in_time():
    crops = pd.DataFrame({"tracklet": [5, 5, 3, 3, 5], "frame": [9, 2, 1, 4, 7]})
    assert first_and_last(crops).tolist() == [[2, 3], [1, 0]]


def test_a_probe_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(24), nn.Linear(24, 3)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = FeatureProbe(torch.randn(150, 3, 4, 2), 10)(net)
    assert net.training and all(
        torch.equal(value, before[key]) for key, value in net.state_dict().items()
    )
    assert set(found) == {"probe_rank1", "feature_rank", "feature_spread"}


def rows(count=100, **columns):
    return [
        {"loss": 5.0} | {name: values[step] for name, values in columns.items()}
        for step in range(count)
    ]


def test_what_went_wrong_by_hand(settings):
    p = settings(head={"out_dim": 1024, "hidden": 8, "bottleneck": 4, "batch_norm": True})
    full = math.log(1024)
    healthy = {
        "teacher_entropy": [0.6 * full] * 100,
        "feature_rank": [9.0] * 100,
        "feature_spread": [0.5] * 100,
    }

    def said(**columns):
        return [
            text.partition(":")[0] for text in diagnose(rows(**healthy | columns), p, 100, full)
        ]

    assert said() == []
    assert said(teacher_entropy=[0.995 * full] * 100) == [
        "the teacher's outputs are all but uniform"
    ]
    assert said(teacher_entropy=[0.001] * 100) == ["the teacher gives every crop one prototype"]
    assert said(feature_rank=[9.0] * 99 + [1.2]) == ["the features have collapsed to one direction"]
    assert said(loss=[3.0] * 50 + [9.0] * 50) == ["the loss is worse than chance's"]
    assert said(loss=[5.0] * 99 + [50.0]) == [], "one bad step is none"
    assert diagnose(rows(count=15, loss=[9.0] * 15), p, 1000, full) == [], "still warming up"
    assert all(
        "pretrain." in text
        for text in diagnose(rows(loss=[9.0] * 100, feature_rank=[1.0] * 100), p, 100, full)
    )


def test_a_run_is_watched_by_tracklets_that_it_does_not_see(
    data, settings, runtime, recorded, monkeypatch
):
    seen, train = {}, loop.train

    def look(learner, batches, *rest):
        seen[learner.name] = (len(batches.store), rest[-2].images)
        return train(learner, batches, *rest)

    monkeypatch.setattr("cion_core.training.run.train", look)
    p = settings(held_out=0.5)
    for method in ("cion", "lup"):
        stage.run(p, method, BACKBONE, runtime())
        history = pd.read_csv(data / f"pretrain/{method}-{BACKBONE}/history.csv").set_index("step")
        assert history.probe_rank1.dropna().index.tolist() == [2, 5]
    assert seen["cion"][0] == seen["lup"][0] < 17 and seen["cion"][1].shape == (4, 3, 32, 16)
    assert torch.equal(seen["cion"][1], seen["lup"][1])
    assert "feature_rank" in recorded[0].rows[5] and "feature_rank" not in recorded[0].rows[4]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, None),
        # without a centre, one prototype wins (Caron et al. 2021, section 5.3)
        (
            {
                "momentum": {"teacher": 0.9, "center": 1.0},
                "temperature": {"student": 0.1, "teacher": 0.01},
            },
            "one prototype",
        ),
        # without sharpening all are alike
        ({"temperature": {"student": 0.1, "teacher": 1.0}}, "all but uniform"),
    ],
)
def test_real_collapses_are_named(data, settings, runtime, recorded, capsys, changes, named):
    p = settings(
        steps=60, held_out=0.5, warmup=0.1, dino={"lr": 0.003},
        head={"out_dim": 64, "hidden": 32, "bottleneck": 16, "batch_norm": False}, **changes,
    )  # fmt: skip
    stage.run(p, "dino", BACKBONE, runtime(watch_every=20, checkpoint_every=60))
    said = capsys.readouterr().out
    assert ("warning" in said) == (named is not None)
    if named:
        assert named in said and "pretrain.temperature.teacher" in said
