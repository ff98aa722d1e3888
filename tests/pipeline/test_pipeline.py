"""The whole pipeline, as a newcomer runs it: `dvc repro` in a fresh repository, tiny world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import stage_code
import yaml
from miniature import ADAPTED, METHODS, WORLD, Project

from cion_core import tables


def test_the_table_has_a_row_for_every_method_and_setting(reproduced: Project) -> None:
    reports = reproduced.folder / "data/reports"
    rows = json.loads((reports / "comparison.json").read_text())
    found = {(row["method"], row["setting"]) for row in rows}
    assert found == {("stripes", "frozen")} | {
        (m, s) for m in METHODS for s in ("frozen", "finetuned")
    }
    for row in rows:
        assert set(row) == {
            "method", "backbone", "benchmark", "setting", "run", "recipe", "source",
            "mAP", "rank1", "rank5", "rank10", "mINP",
        }  # fmt: skip
        assert 0 < row["mINP"] <= row["mAP"] <= 100
        assert row["rank1"] <= row["rank5"] <= row["rank10"] <= 100
    csv = pd.read_csv(reports / "comparison.csv")
    assert csv.mAP.tolist() == [row["mAP"] for row in rows]


@pytest.mark.parametrize("stage", stage_code.STAGES)
def test_a_stage_depends_on_what_it_imports_and_on_nothing_else(
    reproduced: Project, stage: str
) -> None:
    assert stage_code.compared(reproduced, stage) == {"missing": [], "of no use": []}


def test_every_room_leaves_tables_that_validate(reproduced: Project) -> None:
    data = reproduced.folder / "data"
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    kept = set(crops.crop)
    for level in tables.LEVELS:
        identities = tables.read(tables.Identities, data / f"denoise/{level}/identities.parquet")
        assert set(identities.crop) <= kept, "a level labels only what it was given"
        ledger = tables.read(tables.Ledger, data / f"denoise/{level}/ledger.parquet")
        assert set(ledger.crop) >= set(identities.crop), "each crop's fate is in the ledger"
        truth = json.loads((data / "audit/truth.json").read_text())["levels"][level]
        assert 0 < truth["after"]["tracklets"]["precision"] <= 1
    # Methods are compared on equal footing: the same weights to start from, and the crops of the
    # last level.
    histories = {m: pd.read_csv(data / f"pretrain/{m}-resnet10_ibn/history.csv") for m in METHODS}
    assert {m: len(h) for m, h in histories.items()} == {
        m: 0 if m == "random" else 6 for m in METHODS
    }


def test_metrics_plots_and_page_show_the_models(reproduced: Project) -> None:
    shown = reproduced.run("dvc", "metrics", "show", "--json")
    assert "mAP" in shown and "precision" in shown
    reproduced.run("dvc", "plots", "show", "-o", "plots")
    drawn = (reproduced.folder / "plots/index.html").read_text()
    assert "vegaEmbed" in drawn and "cion" in drawn
    page = (reproduced.folder / "data/reports/index.html").read_text()
    assert "data:image/jpeg;base64" in page and "Across videos" in page
    assert "cion" in reproduced.run("cion", "show")


def test_a_second_run_does_nothing_and_says_so(reproduced: Project) -> None:
    said = reproduced.run("dvc", "repro")
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'list':"
    ]
    assert not reproduced.stale()


@pytest.mark.parametrize(
    ("file", "values", "first", "untouched"),
    [
        (
            "params.yaml",
            {"denoise": {"separation": {"video": 0.2}}},
            "denoise@video",
            {"extract", "embed", "denoise@tracklet"},
        ),
        (
            "params.yaml",
            {"pretrain": {"lup": {"lr": 0.01}}},
            "pretrain@lup-resnet10_ibn",
            {"pretrain@cion-resnet10_ibn"},
        ),
        (
            "params.yaml",
            {"pretrain": {"backbones": ["resnet10_ibn", "resnet18"]}},
            "pretrain@cion-resnet18",
            {"pretrain@cion-resnet10_ibn", "finetune@cion-resnet10_ibn-first"},
        ),
        (
            "params.yaml",
            {"pretrain": {"min_confidence": 0.5}},
            "pretrain@cion-resnet10_ibn",
            {"denoise@cross_video", "pretrain@lup-resnet10_ibn", "pretrain@random-resnet10_ibn"},
        ),
        (
            "params.yaml",
            {"evaluate": {"rerank": True}},
            "evaluate-stripes@demo",
            {"pretrain@cion-resnet10_ibn"},
        ),
        ("demo/world.yaml", {"seed": 7}, "ingest", {"embed"}),
    ],
)
def test_a_change_touches_only_what_follows_it(
    reproduced: Project, file: str, values: dict, first: str, untouched: set[str]
) -> None:
    before = (reproduced.folder / file).read_text()
    try:
        reproduced.change(file, values)
        reproduced.run("cion", "list")  # as `dvc repro` begins
        stale = reproduced.stale()
        assert first in stale
        assert not stale & untouched
    finally:
        (reproduced.folder / file).write_text(before)
        reproduced.run("cion", "list")


@pytest.mark.slow  # whether a backbone of four steps finds two clusters hangs on rounding
def test_a_second_benchmark_and_adaptation_to_it(reproduced: Project) -> None:
    """A run from another's models, on a benchmark of other people; nothing else is done again."""
    model = "resnet10_ibn"
    before = (reproduced.folder / "params.yaml").read_text()
    try:
        shrunk = {
            "image": None,
            "epochs": 2,
            "iterations": 2,
            "identities": 2,
            "instances": 2,
            "group": None,
            # few images, which a backbone of four steps hardly tells apart
            "neighbours": [6, 2],
            "eps": 0.6,
        }
        reproduced.change("demo/elsewhere/world.yaml", {"benchmark": WORLD["benchmark"]})
        reproduced.change(
            "params.yaml",
            {
                "benchmark": {"sources": {"elsewhere": "demo/elsewhere"}},
                "finetune": {"runs": {"adapted": ADAPTED}, "cluster_contrast": shrunk},
            },
        )
        reproduced.run("cion", "list")
        stale = reproduced.stale()
        assert not stale & {
            f"finetune@cion-{model}-first",
            f"evaluate-run@cion-{model}-first-demo",
            "start@first",
        }
        said = reproduced.run("dvc", "repro", f"evaluate-run@cion-{model}-adapted-elsewhere")
        ran = {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}
        assert ran == {
            "list", "benchmark@elsewhere", "start@adapted", f"finetune@cion-{model}-adapted",
            f"evaluate-run@cion-{model}-adapted-elsewhere",
        }  # fmt: skip
        file = reproduced.folder / f"data/evaluate/elsewhere/adapted/cion-{model}/metrics.json"
        row = json.loads(file.read_text())
        assert (row["setting"], row["source"], row["recipe"]) == (
            "adapted",
            "demo → elsewhere",
            "cluster_contrast",
        )
    finally:
        (reproduced.folder / "params.yaml").write_text(before)
        reproduced.run("cion", "list")


def test_mlflow_has_one_parent_with_its_children(reproduced: Project) -> None:
    script = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
told = [(r.info.run_id, r.info.status, dict(r.data.tags), dict(r.data.metrics)) for r in runs]
print("RUNS", json.dumps(told))
"""
    out = reproduced.run(sys.executable, "-c", script)
    runs = json.loads(out.split("RUNS ")[1].splitlines()[0])
    named = {tags["mlflow.runName"]: tags.get("mlflow.parentRunId") for _, _, tags, _ in runs}
    # The parent run is that of the whole pipeline's first reproduction; later ones have their own.
    parent = named["denoise tracklet"]
    model = "cion-resnet10_ibn"
    children = {name for name, above in named.items() if above == parent}
    assert children >= {
        "audit all",
        f"pretrain {model}",
        f"finetune {model}-first",
        "evaluate stripes-frozen-demo",
    }
    assert {
        status for id, status, tags, _ in runs if parent in (id, tags.get("mlflow.parentRunId"))
    } == {"FINISHED"}
    assert any(
        "loss" in numbers
        for _, _, tags, numbers in runs
        if tags.get("mlflow.parentRunId") == parent
    )


def test_an_experiment_trains_again_with_other_steps(reproduced: Project) -> None:
    target = "pretrain@lup-resnet10_ibn"
    reproduced.run("git", "add", "-A")
    reproduced.run("git", "commit", "-qm", "reproduced")
    reproduced.run("dvc", "exp", "run", "-S", "pretrain.steps=3", target)
    assert len(pd.read_csv(reproduced.folder / "data/pretrain/lup-resnet10_ibn/history.csv")) == 3
    reproduced.run("git", "checkout", "-q", ".")
    reproduced.run("dvc", "checkout", "-q")
    assert not reproduced.stale()


def test_a_killed_reproduction_goes_on_to_the_same_weights(reproduced: Project) -> None:
    weights = reproduced.folder / "data/pretrain/cion-resnet10_ibn/model.safetensors"
    steps = {"pretrain": {"steps": 60}}
    before = (reproduced.folder / "params.yaml").read_text()
    target = "pretrain@cion-resnet10_ibn"
    reproduced.change("params.yaml", steps)
    try:
        running = subprocess.Popen(
            ["dvc", "repro", "-s", target], cwd=reproduced.folder, env=reproduced.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        work = reproduced.folder / ".cion/pretrain"
        while not list(work.glob("*/step-*.ckpt")):
            assert running.poll() is None, running.stdout.read().decode()[-3000:]
            time.sleep(0.05)  # between two looks at the disk
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert not weights.exists(), "killed before its end"
        assert "resum" in reproduced.run("dvc", "repro", "-s", target)
        resumed = weights.read_bytes()
        reproduced.run("dvc", "repro", "-s", "-f", target)
        assert weights.read_bytes() == resumed
    finally:
        (reproduced.folder / "params.yaml").write_text(before)
        reproduced.run("dvc", "repro", "-s", target)  # which DVC has kept


def test_a_wrong_key_stops_before_anything_runs(reproduced: Project) -> None:
    before = (reproduced.folder / "params.yaml").read_text()
    try:
        reproduced.change("params.yaml", {"extract": {"detector": "rcnn"}})
        said = reproduced.run("cion", "extract", fails=True)
        assert "extract.detector" in said and "hog" in said and "Traceback" not in said
    finally:
        (reproduced.folder / "params.yaml").write_text(before)


@pytest.mark.slow  # it denoises three times
def test_the_same_revision_gives_the_same_identities_in_another_folder(
    reproduced: Project, tmp_path: Path
) -> None:
    """Though the first folder holds identities that were made with other parameters."""
    before = (reproduced.folder / "params.yaml").read_text()
    target = "denoise@cross_video"
    try:
        reproduced.change("params.yaml", {"denoise": {"min_crops": 4}})
        reproduced.run("dvc", "repro", target)
    finally:
        (reproduced.folder / "params.yaml").write_text(before)
    for level in tables.LEVELS:
        reproduced.run("dvc", "repro", "--force", "--single-item", f"denoise@{level}")
    other = Project(Path(__file__).parents[2], tmp_path / "other")
    other.run("dvc", "cache", "dir", str(reproduced.folder / ".dvc/cache"))
    other.run("dvc", "repro", "embed")  # which DVC has kept
    for level in tables.LEVELS:
        other.run("dvc", "repro", "--force", "--single-item", f"denoise@{level}")
    locks = [
        yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
        for project in (reproduced, other)
    ]
    assert set(locks[1]) == {
        "list",
        "ingest",
        "extract",
        "embed",
        *(f"denoise@{level}" for level in tables.LEVELS),
    }
    assert {name: locks[0][name] for name in locks[1]} == locks[1]


def test_another_truth_makes_the_audit_alone_stale(reproduced: Project) -> None:
    path = reproduced.folder / "data/raw/truth.parquet"
    before = path.read_bytes()
    try:
        path.chmod(0o644)
        tables.write(tables.Truth, tables.read(tables.Truth, path).iloc[1:], path)
        assert reproduced.stale() == {"ingest", "audit"}, "and ingest, which wrote it"
    finally:
        path.write_bytes(before)
