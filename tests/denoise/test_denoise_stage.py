"""The stages from files to files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core import params, tables, work
from cion_core.denoise import denoise, stage
from cion_core.errors import CionError

SETTINGS = {
    "radius": "auto", "separation": "auto", "false_link_rate": 0.05, "min_crops": 2, "linking": "reciprocal",
    "range": "all", "stride": "auto", "cannot_link": True, "centre": True,
}  # fmt: skip


def settings(**changes: object) -> params.Denoise:
    return params.Denoise(**(SETTINGS | changes))


@pytest.fixture
def root(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten people in four videos, all together, 4 crops each, their rows shuffled, with their truth."""
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    monkeypatch.setattr(stage, "record", lambda *_: None)  # MLflow has tests of its own
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(10, 16))
    video, person, frame = (g.ravel() for g in np.meshgrid(range(4), range(10), range(4), indexing="ij"))
    boxes = {"x1": 50.0 * person, "y1": 0.0, "x2": 50.0 * person + 40, "y2": 100.0}
    where = {"video": [f"v{v}" for v in video], "frame": frame, **boxes}
    crops = pd.DataFrame({
        "crop": np.arange(len(person)), **where, "time_s": frame / 10, "tracklet": video * 10 + person,
        "confidence": 1.0, "shard": "a.tar", "offset": 0, "size": 1,
    })  # fmt: skip
    order = rng.permutation(len(crops))
    features = (looks[person] + 0.2 * rng.normal(size=(len(person), 16)))[order]
    tables.write(tables.Crops, crops.iloc[order], workspace / "data/tracklets/crops.parquet")
    (workspace / "data/embeddings").mkdir()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.save(workspace / "data/embeddings/features.npy", features.astype(np.float16))
    truth = pd.DataFrame({**where, "person": person, "visible": 1.0})
    tables.write(tables.Truth, truth, workspace / "data/raw/truth.parquet")
    return workspace / "data"


def run_all(p: params.Denoise) -> dict[str, dict]:
    for level in tables.LEVELS:
        stage.run(p, level)
    return {level: json.loads(Path(f"data/denoise/{level}/audit.json").read_text()) for level in tables.LEVELS}


def test_files_of_every_level(root: Path) -> None:
    audits = run_all(settings())
    for level, audit in audits.items():
        identities = tables.read(tables.Identities, root / f"denoise/{level}/identities.parquet")
        ledger = tables.read(tables.Ledger, root / f"denoise/{level}/ledger.parquet")
        assert audit["level"] == level and audit["crops"] == len(identities)
        assert audit["identities"] == identities.identity.nunique()
        kept = ledger[ledger["to"] >= 0]
        assert dict(zip(kept.crop, kept.to, strict=True)) == dict(
            zip(identities.crop, identities.identity, strict=True)
        )
        assert sum(audit["actions"].values()) == len(ledger) and set(audit["actions"]) == set(ledger.action)
    assert audits["tracklet"]["truth"]["before"]["tracklets"] == {"precision": 1.0, "recall": 0.0, "f1": 0.0}
    assert audits["cross_video"]["truth"]["after"]["tracklets"]["f1"] == 1.0
    for before, after in zip(tables.LEVELS, tables.LEVELS[1:], strict=False):
        assert audits[before]["truth"]["after"] == audits[after]["truth"]["before"]


def test_files_and_arrays_agree_and_come_out_the_same_again(root: Path) -> None:
    run_all(settings())
    first = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    run_all(settings())
    assert first == {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    crops = pd.read_parquet(root / "tracklets/crops.parquet")
    result = denoise(crops, np.load(root / "embeddings/features.npy"), min_crops=2)
    pd.testing.assert_frame_equal(
        result.identities, pd.read_parquet(root / "denoise/cross_video/identities.parquet"), check_dtype=False
    )


@pytest.mark.parametrize("change", [{"linking": "published"}, {"range": 16}, {"radius": 0.2, "separation": 0.1}])
def test_other_settings(root: Path, change: dict) -> None:
    audits = run_all(settings(**change))
    assert audits["cross_video"]["crops"] == audits["video"]["crops"] > 0


def test_videos_that_were_added_are_linked_to_what_was_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second of four videos comes later, so that all numbers behind it move."""
    crops = pd.read_parquet(root / "tracklets/crops.parquet").sort_values("crop", ignore_index=True)
    features = np.load(root / "embeddings/features.npy")
    features = features[np.argsort(pd.read_parquet(root / "tracklets/crops.parquet").crop)]

    def put(rows: np.ndarray) -> None:
        some = crops[rows].assign(crop=np.arange(rows.sum()), tracklet=np.arange(rows.sum()) // 4)
        tables.write(tables.Crops, some, root / "tracklets/crops.parquet")
        np.save(root / "embeddings/features.npy", features[rows])

    put((crops.video != "v1").to_numpy())
    run_all(settings())
    put(np.ones(len(crops), bool))
    capsys.readouterr()
    audits = run_all(settings())
    assert capsys.readouterr().out.count("denoise: 1 of 4 videos are new, and nothing else: they alone") == 3
    assert all(audit["crops"] == len(crops) for audit in audits.values())
    assert audits["cross_video"]["truth"]["after"]["crops"]["f1"] == 1.0 and audits["cross_video"]["injected"]
    for level in tables.LEVELS:
        ledger = tables.read(tables.Ledger, root / f"denoise/{level}/ledger.parquet")
        assert sorted(ledger.crop) == list(range(len(crops)))
    identities = tables.read(tables.Identities, root / "denoise/cross_video/identities.parquet")
    assert identities.crop.is_monotonic_increasing
    put((crops.video != "v3").to_numpy())
    run_all(settings())
    put(np.ones(len(crops), bool))
    capsys.readouterr()
    run_all(settings(linking="published"))  # which only level 3 goes by
    assert capsys.readouterr().out.count("are new, and nothing else") == 2
    put((crops.video != "v3").to_numpy())  # one is gone: all anew
    run_all(settings())
    assert "are new, and nothing else" not in capsys.readouterr().out


def test_no_truth_is_no_score(root: Path) -> None:
    tables.write(tables.Truth, tables.empty(tables.Truth), root / "raw/truth.parquet")
    stage.run(settings(), "tracklet")
    assert json.loads((root / "denoise/tracklet/audit.json").read_text())["truth"] is None
    (root / "raw/truth.parquet").unlink()
    stage.run(settings(), "video")
    assert json.loads((root / "denoise/video/audit.json").read_text())["truth"] is None


def test_errors_say_what_to_do(root: Path) -> None:
    with pytest.raises(CionError, match=r"nothing is left of 160 crops .*lower denoise\.min_crops"):
        stage.run(settings(min_crops=9), "tracklet")
    with pytest.raises(CionError, match=r"identities\.parquet: no such file"):
        stage.run(settings(), "video")
    stage.run(settings(), "tracklet")
    path = root / "denoise/tracklet/identities.parquet"
    tables.write(tables.Identities, pd.DataFrame({"crop": [1, 999], "identity": [0, 0]}), path)
    with pytest.raises(CionError, match=r"crops \[999\] are not in crops.parquet"):
        stage.run(settings(), "video")
    np.save(root / "embeddings/features.npy", np.ones((3, 16), np.float16))
    with pytest.raises(CionError, match="there are 160 crops"):
        stage.run(settings(), "tracklet")
