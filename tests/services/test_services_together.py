"""A miniature pipeline through all services of the compose file.

It is a team's first night, and its second machine.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from miniature import Project, Whole
from team import Team, missing

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2]
SMALL = {
    "pretrain": {"methods": ["random", "cion"]},
    "finetune": {
        "runs": Whole(first={"recipe": "bag_of_tricks", "on": "demo", "from": "pretrain"})
    },
}
ARTIFACTS = """
import json
import boto3
from mlflow import MlflowClient

client = MlflowClient()
experiments = client.search_experiments()
runs = client.search_runs([experiment.experiment_id for experiment in experiments], max_results=1000)
report = {
    "stages": sorted({run.data.tags.get("cion.stage", "") for run in runs}),
    "unfinished": [run.info.run_name for run in runs if run.info.status != "FINISHED"],
    "parents": len([run for run in runs if run.data.tags.get("cion.stage") == "reproduction"]),
    "artifacts": sorted({run.info.artifact_uri.split(":")[0] for run in runs}),
    "objects": len(boto3.client("s3").list_objects_v2(Bucket="mlflow").get("Contents", [])),
}
print("REPORT", json.dumps(report))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project in miniature, whose DVC remote is the bucket `dvc`, by one command."""
    made = Project(HERE, tmp_path_factory.mktemp("team") / "checkout")
    made.change("params.yaml", SMALL)
    for name in ("flows", "docker"):
        shutil.copytree(
            HERE / name, made.folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(HERE / "prefect.yaml", made.folder)
    made.run("dvc", "remote", "add", "--default", "store", "s3://dvc")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "a remote")
    return made


@pytest.fixture(scope="module")
def team(services: dict[str, dict], project: Project) -> Iterator[Team]:
    """All services but the GPU worker, after the first night."""
    if reason := missing():
        pytest.skip(reason)
    pytest.importorskip("moto", reason="no moto: pip install -e '.[services]'")
    pytest.importorskip("psycopg2", reason="no psycopg2: pip install -e '.[services]'")
    team = Team(services, project.folder)
    try:
        team.up("cpu-worker", "mlflow")
        done = team.run(
            "cpu-worker", "prefect", "deployment", "run", "reproduce/nightly", "--watch"
        )
        assert "Completed" in done, done[-2000:] + team.log("cpu-worker")[-6000:]
        yield team
    finally:
        team.close()


def committed(project: Project) -> None:
    """Commit what the night has changed of the tracked files: dvc.lock and the comparison."""
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "what the night made")


def test_the_worker_runs_every_stage_in_the_checkout(team: Team, project: Project) -> None:
    rows = json.loads((project.folder / "data/reports/comparison.json").read_text())
    assert {row["method"] for row in rows} == {"stripes", "random", "cion"}
    assert project.stale() == set()


def test_mlflow_holds_one_finished_tree_of_runs_and_its_artifacts_lie_in_the_store(
    team: Team,
) -> None:
    said = team.run("cpu-worker", "python", "-c", ARTIFACTS)
    report = json.loads(said.split("REPORT ")[1])
    assert {"pretrain", "finetune", "evaluate"} <= set(report["stages"])
    assert report["unfinished"] == []
    assert report["artifacts"] == ["mlflow-artifacts"], "clients go through the server"
    assert report["objects"] > 0


def test_another_machine_pulls_the_data_and_finds_nothing_to_do(
    team: Team, project: Project
) -> None:
    committed(project)
    team.run("cpu-worker", "dvc", "push", "--run-cache")
    clone = project.folder.parent / "clone"
    team.run("cpu-worker", "git", "clone", "--quiet", "/workspace", str(clone), where="/")
    for command in (["dvc", "pull", "--run-cache"], ["dvc", "repro", "list"], ["dvc", "status"]):
        said = team.run("cpu-worker", "env", f"PYTHONPATH={clone}", *command, where=str(clone))
    assert "changed deps" not in said and "changed outs" not in said
    for table in (
        "raw/videos.parquet",
        "denoise/cross_video/identities.parquet",
        "reports/index.html",
    ):
        assert (clone / "data" / table).read_bytes() == (
            project.folder / "data" / table
        ).read_bytes()


def test_a_killed_service_comes_back_with_all_it_knew(team: Team) -> None:
    for name in ("mlflow", "prefect"):
        team.stop(name, signal.SIGKILL)
    team.up("mlflow", "prefect")
    report = json.loads(team.run("cpu-worker", "python", "-c", ARTIFACTS).split("REPORT ")[1])
    assert report["unfinished"] == [] and len(report["stages"]) > 3
    assert "nightly" in team.run("cpu-worker", "prefect", "deployment", "ls")
