"""The stages from files to files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import shuffled_footage

from cion_core import tables, work
from cion_core.denoise import Settings, denoise, stage, state
from cion_core.denoise.settings import Denoise, Thresholds
from cion_core.errors import CionError


def settings(**changes: object) -> Denoise:
    return Denoise(**{"min_crops": 2, "range": "all"} | changes)


@pytest.fixture
def root(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten people in four videos, all together, 4 crops each, rows shuffled, with their truth."""
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    monkeypatch.setattr(stage, "record", lambda *_: None)  # MLflow has tests of its own
    shuffled_footage(workspace / "data")
    return workspace / "data"


def run_all(p: Denoise) -> dict[str, dict]:
    for level in tables.LEVELS:
        stage.run(p, level)
    return {
        level: json.loads(Path(f"data/denoise/{level}/audit.json").read_text())
        for level in tables.LEVELS
    }


def test_files_of_every_level_agree_with_its_audit(root: Path) -> None:
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
        assert sum(audit["actions"].values()) == len(ledger) and set(audit["actions"]) == set(
            ledger.action
        )
        dropped = ledger.rule[ledger.action == "dropped"].astype(str)
        assert audit["dropped_by"] == dropped.value_counts().to_dict()
        assert set(audit) == {
            "level",
            "crops",
            "tracklets",
            "identities",
            "radius",
            "separation",
            "cut",
            "noise",
            "actions",
            "dropped_by",
            "calibration",
        }
        assert stage.read_thresholds(root, level) == Thresholds(
            audit["radius"], audit["separation"], audit["cut"]
        )
    assert audits["cross_video"]["identities"] == 10


def test_files_and_arrays_agree_and_come_out_the_same_again(root: Path) -> None:
    run_all(settings())
    first = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    run_all(settings())
    assert first == {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    crops = pd.read_parquet(root / "tracklets/crops.parquet")
    result = denoise(crops, np.load(root / "embeddings/features.npy"), Settings(min_crops=2))
    pd.testing.assert_frame_equal(
        result.identities,
        pd.read_parquet(root / "denoise/cross_video/identities.parquet"),
        check_dtype=False,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"linking": "published"},
        {"range": 16},
        {"radius": {"video": 0.2}, "separation": {"video": 0.1}},
    ],
)
def test_other_settings_lose_no_crop_across_videos(root: Path, change: dict) -> None:
    audits = run_all(settings(**change))
    assert audits["cross_video"]["crops"] == audits["video"]["crops"] > 0


def put(root: Path, videos: list[str]) -> None:
    """Only the crops of these videos, numbered as extract numbers them."""
    source, whole = root / "whole", root / "tracklets/crops.parquet"
    if not source.exists():
        source.mkdir()
        shutil.copy(whole, source)
        shutil.copy(root / "embeddings/features.npy", source)
    crops = pd.read_parquet(source / "crops.parquet")
    features = np.load(source / "features.npy")[np.argsort(crops.crop)]
    crops = crops.sort_values("crop", ignore_index=True)
    rows = crops.video.isin(videos).to_numpy()
    some = crops[rows].assign(crop=np.arange(rows.sum()), tracklet=np.arange(rows.sum()) // 4)
    tables.write(tables.Crops, some, whole)
    np.save(root / "embeddings/features.npy", features[rows])


def test_videos_that_were_added_are_linked_to_an_earlier_result(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of four videos comes later, so that all numbers behind it move."""
    put(root, ["v0", "v2", "v3"])
    run_all(settings())
    shutil.copytree(root / "denoise", root / "before")
    put(root, ["v0", "v1", "v2", "v3"])
    capsys.readouterr()
    audits = run_all(settings(earlier=str(root / "before")))
    assert (
        capsys.readouterr().out.count("denoise: 1 of 4 videos are new; only these are denoised")
        == 3
    )
    crops, _ = stage.read_crops(root)
    assert all(audit["crops"] == len(crops) for audit in audits.values())
    assert audits["cross_video"]["identities"] == 10
    for level in tables.LEVELS:
        ledger = tables.read(tables.Ledger, root / f"denoise/{level}/ledger.parquet")
        assert sorted(ledger.crop) == list(range(len(crops)))
    identities = tables.read(tables.Identities, root / "denoise/cross_video/identities.parquet")
    assert identities.crop.is_monotonic_increasing
    last = tables.read(tables.Ledger, root / "denoise/cross_video/ledger.parquet")
    now = dict(zip(last["from"], last.to, strict=True))
    assert (last.other.map(now) == last.to).all()  # numbers moved with what they name
    first = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    run_all(settings(earlier=str(root / "before")))  # what the folder holds by now does not matter
    assert first == {path: work.sha256(path) for path in root.glob("denoise/*/*")}


def test_an_earlier_result_of_the_same_videos_is_taken_as_it_is(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_all(settings())
    shutil.copytree(root / "denoise", root / "before")
    shutil.rmtree(root / "denoise")
    capsys.readouterr()
    run_all(settings(earlier=str(root / "before")))
    assert capsys.readouterr().out.count("denoise: none of 4 videos is new") == 3
    for path in root.glob("denoise/*/*"):
        if path.suffix == ".parquet":
            pd.testing.assert_frame_equal(
                pd.read_parquet(path),
                pd.read_parquet(root / "before" / path.relative_to(root / "denoise")),
            )
        elif path.suffix == ".json":
            assert (
                path.read_text()
                == (root / "before" / path.relative_to(root / "denoise")).read_text()
            )
    np.testing.assert_array_equal(
        state.read_links(root / "denoise/cross_video/links.npz").points,
        state.read_links(root / "before/cross_video/links.npz").points,
    )


def test_an_earlier_result_that_does_not_fit_is_refused(root: Path) -> None:
    earlier = str(root / "before")
    with pytest.raises(
        CionError,
        match=r"before/tracklet/videos\.parquet: no such file; it must be a copy of data/denoise",
    ):
        stage.run(settings(earlier=earlier), "tracklet")
    run_all(settings())
    shutil.copytree(root / "denoise", root / "before")
    run_all(settings(earlier=earlier))
    with pytest.raises(
        CionError, match=r"made by other code or .*denoise\.earlier: null denoises all anew"
    ):
        stage.run(settings(earlier=earlier, linking="published"), "cross_video")
    stage.run(settings(earlier=earlier, linking="published"), "video")  # which only level 3 goes by
    put(root, ["v0", "v1", "v2"])
    with pytest.raises(CionError, match=r"1 of its videos are not as they were: v3 \(gone\)"):
        stage.run(settings(earlier=earlier), "tracklet")
    run_all(settings())  # and all anew


def test_nothing_depends_on_what_lay_in_the_folder(root: Path) -> None:
    put(root, ["v0", "v2", "v3"])
    run_all(settings())
    put(root, ["v0", "v1", "v2", "v3"])
    run_all(settings())
    over = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    shutil.rmtree(root / "denoise")
    run_all(settings())
    assert over == {path: work.sha256(path) for path in root.glob("denoise/*/*")}


def test_truth_has_no_say(root: Path) -> None:
    run_all(settings())
    first = {path: work.sha256(path) for path in root.glob("denoise/*/*")}
    tables.write(tables.Truth, tables.empty(tables.Truth), root / "raw/truth.parquet")
    run_all(settings())
    assert first == {path: work.sha256(path) for path in root.glob("denoise/*/*")}


def test_a_rule_of_ones_own_through_the_stage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file, named by import path; `earlier` goes on with it."""
    (root.parent / "mine_strict.py").write_text(ALONE)
    monkeypatch.syspath_prepend(root.parent)
    p = settings(linking="mine_strict.Alone")
    put(root, ["v0", "v2", "v3"])
    assert run_all(p)["cross_video"]["identities"] == 30
    shutil.copytree(root / "denoise", root / "before")
    put(root, ["v0", "v1", "v2", "v3"])
    audits = run_all(p.model_copy(update={"earlier": str(root / "before")}))
    assert audits["cross_video"]["identities"] == 40 and audits["cross_video"]["separation"] == 0.5
    ledger = tables.read(tables.Ledger, root / "denoise/cross_video/ledger.parquet")
    assert set(ledger.rule) == {"mine_strict.Alone"} and set(ledger.action) == {"kept"}
    assert state.read_links(root / "denoise/cross_video/links.npz").rule == "mine_strict.Alone"
    (root.parent / "mine_strict.py").write_text(ALONE + "\n# another version\n")
    with pytest.raises(CionError, match="made by other code"):
        stage.run(p.model_copy(update={"earlier": str(root / "before")}), "cross_video")


ALONE = """
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import LinkingResult
from cion_core.denoise.linking.rules.base import LinkingRule

class Alone(LinkingRule):
    about = "links nobody"

    def fit(self, nodes):
        return {}, nodes.centres

    def calibrate(self, nodes, points, rate):
        return Calibration(0.5, "no matter")

    def link(self, nodes, points, separation, radius):
        return LinkingResult(nodes.initial_sets, [])

    def extend(self, old, nodes, separation, radius):
        return nodes.centres, LinkingResult(old.sets_with(nodes), [])
"""


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
