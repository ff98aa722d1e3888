"""The audit from files to files: with truth, without, and with another one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_up import shuffled_footage

from cion_core import tables, work
from cion_core.audit import scores, stage
from cion_core.denoise import stage as denoising
from cion_core.denoise.settings import Denoise

P = Denoise(min_crops=2)


@pytest.fixture
def root(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten people in four videos, all together, 4 crops each, shuffled, denoised; with truth."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    monkeypatch.setattr(denoising, "record", lambda *_: None)  # MLflow has tests of its own
    monkeypatch.setattr(stage, "record", lambda *_: None)
    data = workspace / "data"
    shuffled_footage(data)
    for level in tables.LEVELS:
        denoising.run(P, level, root=data)
    return data


def written(root: Path) -> tuple[dict | None, dict | None, pd.DataFrame]:
    truth, planted = (
        json.loads((root / f"audit/{name}.json").read_text()) for name in ("truth", "planted")
    )
    return truth, planted, tables.read(tables.People, root / "audit/people.parquet")


def test_scores_before_and_after_each_level(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.run(P, root=root)
    truth, planted, people = written(root)
    levels = truth["levels"]
    assert list(levels) == list(tables.LEVELS)
    assert levels["tracklet"]["before"]["tracklets"] == {"precision": 1.0, "recall": 0.0, "f1": 0.0}
    assert levels["cross_video"]["after"]["tracklets"]["f1"] == 1.0
    for before, after in zip(tables.LEVELS, tables.LEVELS[1:], strict=False):
        assert levels[before]["after"] == levels[after]["before"]
    crops, _ = denoising.read_crops(root)
    assert people.crop.tolist() == list(range(160))
    assert people.person.tolist() == (crops.tracklet % 10).tolist()
    for level in tables.LEVELS:
        labels = denoising.read_result(crops, root, level)
        assert levels[level]["after"] == scores.against_truth(
            crops, labels, people.person.to_numpy()
        )
    assert planted["swap"]["planted"] == planted["fragment"]["planted"] == 4
    said = capsys.readouterr().out
    assert (
        "audit: cross_video: tracklets' precision 1.00 → 1.00, recall 0.00 → 1.00, f1 0.00 → 1.00"
        in said
    )
    assert "audit: planted into 160 crops, repaired after each level: 4 switches" in said


@pytest.mark.parametrize("empty", [True, False])
def test_without_truth_there_are_errors_to_plant(root: Path, empty: bool) -> None:
    stage.run(P, root=root)
    planted = written(root)[1]
    if empty:
        tables.write(tables.Truth, tables.empty(tables.Truth), root / "raw/truth.parquet")
    else:
        (root / "raw/truth.parquet").unlink()
    stage.run(P, root=root)
    truth, again, people = written(root)
    assert truth is None and people.empty and again == planted


def test_another_truth_is_the_audits_alone(root: Path) -> None:
    """Denoising reads none, so it need not run again; and the same files come out twice."""
    stage.run(P, root=root)
    first = {path: work.sha256(path) for path in root.glob("audit/*")}
    stage.run(P, root=root)
    assert len(first) == 3 and first == {path: work.sha256(path) for path in root.glob("audit/*")}
    denoised = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    truth = tables.read(tables.Truth, root / "raw/truth.parquet")
    tables.write(tables.Truth, truth.assign(person=truth.person // 2), root / "raw/truth.parquet")
    before = written(root)
    for level in tables.LEVELS:
        denoising.run(P, level, root=root)
    assert denoised == {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    stage.run(P, root=root)
    after = written(root)
    assert after[0]["levels"]["cross_video"]["after"]["tracklets"]["recall"] < 1
    assert after[1] == before[1] and after[2].person.tolist() == (before[2].person // 2).tolist()


def test_scores_and_planted_errors_are_logged_as_numbers(root: Path) -> None:
    stage.run(P, root=root)
    truth, planted, _ = written(root)
    numbers = stage.metrics(truth, planted)
    assert (
        numbers["cross_video_tracklets_f1_after"] == 1.0
        and numbers["tracklet_crops_recall_before"] > 0
    )
    assert (
        numbers["planted_swap_planted"] == 4 and 0 <= numbers["planted_switch_cross_video"] <= 100
    )
    assert all(type(value) is float for value in numbers.values())
    assert stage.metrics(None, None) == {} and stage.summaries(None) == []
