"""The studies of the project in miniature, through DVC in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from miniature import Project

from cion_core import tables

pytestmark = pytest.mark.slow  # a reproduction, and studies of it


def points(project: Project, name: str) -> Path:
    return project.folder / "data/studies" / name / "points"


def ran(said: str) -> list[str]:
    """The stages that a `dvc repro` has run, but those that always do."""
    names = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    return [name for name in names if name != "list" and ":few-data@" not in name]


@pytest.fixture(scope="module")
def scaled(studied: Project) -> Project:
    """With the study scale run, which was killed once on its way."""
    environment = {**studied.environment, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        ["cion", "study", "scale"],
        cwd=studied.folder,
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Wait for a checkpoint of a training in a point.
    while not list((studied.folder / ".cion/pretrain").glob("*/step-*.ckpt")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    studied.first = sorted(path.name for path in points(studied, "scale").glob("*.json"))
    studied.said = studied.run("cion", "study", "scale")
    return studied


def test_nothing_of_a_study_runs_unless_it_is_asked_for(studied: Project) -> None:
    assert studied.untouched
    assert not [name for name in studied.stale() if not name.startswith("studies/")]


def test_a_killed_study_goes_on_and_has_every_point(scaled: Project) -> None:
    made = sorted(path.name for path in points(scaled, "scale").glob("*.json"))
    assert made == [
        f"{share}-{method}-0.json" for share in ("0.5", "1.0") for method in ("cion", "lup")
    ]
    assert len(scaled.first) < len(made)
    assert not list((scaled.folder / ".cion/studies").iterdir()), (
        "nothing is left of work in progress"
    )
    assert "| share" in scaled.said and "at share 1.0: cion over lup" in scaled.said


def test_all_the_videos_are_the_main_run(scaled: Project) -> None:
    data = scaled.folder / "data"
    for method in ("lup", "cion"):
        row = json.loads((points(scaled, "scale") / f"1.0-{method}-0.json").read_text())
        main = json.loads(
            (data / f"evaluate/demo/frozen/{method}-resnet10_ibn/metrics.json").read_text()
        )
        assert {score: row[score] for score in ("mAP", "rank1", "mINP")} == {
            score: main[score] for score in ("mAP", "rank1", "mINP")
        }
        assert row["videos"] == 4 and row["steps"] == 6
    whole = tables.read(tables.Identities, data / "denoise/cross_video/identities.parquet")
    again = tables.read(
        tables.Identities, data / "studies/scale/data/1.0-0/denoise/cross_video/identities.parquet"
    )
    pd.testing.assert_frame_equal(whole, again)


def test_half_of_them_are_whole_videos_of_each_camera(scaled: Project) -> None:
    data = scaled.folder / "data"
    found = tables.read(
        tables.Identities, data / "studies/scale/data/0.5-0/denoise/cross_video/identities.parquet"
    )
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    videos = tables.read(tables.Videos, data / "raw/videos.parquet").set_index("video").group
    seen = crops[crops.crop.isin(found.crop)].video.unique()
    assert sorted(videos[seen]) == sorted(videos.unique()), "one of each camera's two"
    row = json.loads((points(scaled, "scale") / "0.5-cion-0.json").read_text())
    assert row["videos"] == 2 and row["crops"] == len(found)


def test_a_second_time_nothing_is_done(scaled: Project) -> None:
    assert ran(scaled.run("dvc", "repro", "studies/dvc.yaml:scale")) == []


def test_a_further_seed_adds_its_points_to_the_others(scaled: Project) -> None:
    file = scaled.folder / "studies/params.yaml"
    before = file.read_text()
    try:
        scaled.change(
            "studies/params.yaml", {"scale": {"shares": [0.5], "methods": ["lup"], "seeds": [0, 1]}}
        )
        assert ran(scaled.run("dvc", "repro", "studies/dvc.yaml:scale")) == [
            "studies/dvc.yaml:scale-data@0.5-1",
            "studies/dvc.yaml:scale-point@0.5-lup-1",
            "studies/dvc.yaml:scale",
        ]
        told = json.loads((scaled.folder / "data/reports/studies/scale.json").read_text())
        assert [(row["share"], row["method"], row["seed"]) for row in told["rows"]] == [
            (0.5, "lup", 0),
            (0.5, "lup", 1),
        ]
    finally:
        file.write_text(before)
        scaled.run("cion", "study", "scale")


def test_the_report_shows_it_after_the_next_repro(scaled: Project) -> None:
    assert ran(scaled.run("dvc", "repro")) == ["compare"]
    page = (scaled.folder / "data/reports/index.html").read_text()
    assert (
        'id="studies"' in page and "How much footage it takes" in page and "cion over lup" in page
    )


def test_a_study_trains_on_each_level_of_denoising(studied: Project) -> None:
    said = studied.run("cion", "study", "denoising")
    rows = json.loads((studied.folder / "data/reports/studies/denoising.json").read_text())["rows"]
    assert [(row["level"], row["seed"]) for row in rows] == [
        (level, seed) for level in ("none", "cross_video", "truth") for seed in (0, 1)
    ]
    by = {row["level"]: row for row in rows if row["seed"] == 0}
    crops = tables.read(tables.Crops, studied.folder / "data/tracklets/crops.parquet")
    people = tables.read(tables.People, studied.folder / "data/audit/people.parquet")
    assert (by["none"]["crops"], by["none"]["identities"]) == (len(crops), crops.tracklet.nunique())
    assert by["truth"]["crops"] == (people.person >= 0).sum() and by["truth"]["f1_crops"] == 100
    main = json.loads(
        (studied.folder / "data/evaluate/demo/frozen/cion-resnet10_ibn/metrics.json").read_text()
    )
    assert by["cross_video"]["mAP"] == main["mAP"], "the last level is the main run"
    audit = json.loads((studied.folder / "data/audit/truth.json").read_text())["levels"][
        "cross_video"
    ]["after"]
    assert by["cross_video"]["f1_tracklets"] == round(100 * audit["tracklets"]["f1"], 2)
    assert "±" in said


def test_a_study_of_few_labels_keeps_a_share(studied: Project) -> None:
    studied.run("cion", "study", "few")
    rows = json.loads((studied.folder / "data/reports/studies/few.json").read_text())["rows"]
    training = tables.read(tables.Benchmark, studied.folder / "data/start/first/images.parquet")
    # Images are of all 6 people.
    assert [(row["kind"], row["people"]) for row in rows] == [("identities", 4), ("images", 6)]
    assert rows[1]["images"] == int(round(0.7 * len(training), 6))


def test_a_wrong_number_is_told_before_anything_runs(studied: Project) -> None:
    file = studied.folder / "studies/params.yaml"
    before = file.read_text()
    try:
        studied.change("studies/params.yaml", {"backbone": "resnet18"})
        assert "backbone: no resnet18 in params.yaml; valid: resnet10_ibn" in studied.run(
            "cion", "study", "scale", fails=True
        )
        assert "unknown study 'size'; valid are denoising, few, scale" in studied.run(
            "cion", "study", "size", fails=True
        )
    finally:
        file.write_text(before)
    said = studied.run("cion", "study-data", "scale", "0.3", "0", fails=True)
    assert "no point 0.3; valid: 0.5, 1" in said
