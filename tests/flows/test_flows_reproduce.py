"""The flow over a miniature DVC project, on a real Prefect server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import yaml
from dvc.exceptions import DvcException
from prefect.client.orchestration import SyncPrefectClient
from server_asked import last_run, prefect, said, until

from flows.graph import stages

WRITE = "open('{}', 'w').write(os.environ['CION_REPRODUCTION'])"
FLAKY = (
    "p = pathlib.Path('tried'); known = p.exists(); p.touch(); assert known, 'not at the first "
    "try'; "
)


def stage(name: str, needs: list[str], first: str = "") -> dict:
    """A stage that writes the reproduction's name into NAME.txt, after `first`."""
    code = f"import os, pathlib; {first}{WRITE.format(name + '.txt')}"
    return {
        "cmd": f'python -c "{code}"',
        "deps": [f"{need}.txt" for need in needs],
        "outs": [f"{name}.txt"],
    }


PIPELINE = {
    "last": stage("last", ["broken"]),
    "first": stage("first", []),
    "flaky": stage("flaky", ["first"], FLAKY),
    "broken": stage(
        "broken", ["first"], "raise SystemExit('no videos in data/raw: put some there'); "
    ),
    "each": {"matrix": {"letter": ["a", "b"]}} | stage("${item.letter}", ["flaky"]),
}
ORDER = ["first", "flaky", "broken", "last", "each@a", "each@b"]


@pytest.fixture
def pipeline(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of six tiny stages; `broken` fails always, `flaky` once."""
    monkeypatch.delenv("CION_REPRODUCTION", raising=False)
    write(PIPELINE)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    return workspace


def write(pipeline: dict) -> None:
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}, sort_keys=False))


def mend() -> None:
    """Let `broken` succeed."""
    write(PIPELINE | {"broken": stage("broken", ["first"])})


def command(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the flow as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.reproduce", "--retry-delay-seconds", "0", *arguments],
        env=os.environ | {"PYTHONPATH": str(project)} | environment, capture_output=True, text=True,
    )  # fmt: skip


class TestStages:
    def test_the_order_is_that_of_the_graph_then_of_dvc_yaml(self, pipeline: Path) -> None:
        found = stages()
        assert list(found) == ORDER
        assert found["last"] == ["broken"] and found["each@b"] == ["flaky"] and found["first"] == []

    def test_stages_of_other_files_run_only_where_they_are_named(self, pipeline: Path) -> None:
        """As with `dvc repro`; so the studies are off."""
        Path("studies").mkdir()
        study = {"study": {"wdir": "..", **stage("study", ["first"])}}
        Path("studies/dvc.yaml").write_text(yaml.safe_dump({"stages": study}))
        assert list(stages()) == ORDER
        assert stages(["studies/dvc.yaml:study"]) == {
            "first": [],
            "studies/dvc.yaml:study": ["first"],
        }

    def test_a_target_comes_with_what_it_needs(self, pipeline: Path) -> None:
        assert list(stages(["each@b"])) == ["first", "flaky", "each@b"]

    def test_a_matrix_is_a_target(self, pipeline: Path) -> None:
        assert list(stages(["each"])) == ["first", "flaky", "each@a", "each@b"]

    def test_an_unknown_target_is_an_error_that_names_it(self, pipeline: Path) -> None:
        with pytest.raises(DvcException, match="nowhere"):
            stages(["nowhere"])

    def test_the_project_has_all_its_stages(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(project)
        found = list(stages())
        assert {name.partition("@")[0] for name in found} == set(
            yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
        )
        assert found[:2] == ["list", "ingest"] and found[-1] == "compare"
        assert found.index("denoise@cross_video") < min(
            found.index(name) for name in found if "pretrain" in name
        )


class TestFlow:
    def test_failures_retries_and_what_is_left(
        self, pipeline: Path, project: Path, client: SyncPrefectClient
    ) -> None:
        done = command(project)
        assert done.returncode == 1
        ending = done.stderr[done.stderr.rindex("\nreproduce: ") :]
        assert "failed: broken; not run because of that: last." in ending
        assert "no videos in data/raw: put some there" in ending

        run, tasks = last_run(client)
        assert run.state.is_failed() and "failed: broken" in run.state.message
        states = {name: task.state.name for name, task in tasks.items()}
        assert states == {
            "first": "Completed", "flaky": "Completed", "broken": "Failed", "last": "NotReady",
            "each@a": "Completed", "each@b": "Completed",
        }  # fmt: skip
        assert {name: task.run_count for name, task in tasks.items()} == {
            "first": 1, "flaky": 2, "broken": 2, "last": 0, "each@a": 1, "each@b": 1,
        }  # fmt: skip
        assert "no videos in data/raw: put some there" in tasks["broken"].state.message
        until(
            lambda: "no videos in data/raw" in said(client, tasks["broken"]),
            "the log of the failed stage",
        )
        completed = [tasks[name] for name in ORDER if states[name] == "Completed"]
        assert all(before.end_time <= after.start_time for before, after in pairwise(completed))
        assert Path("a.txt").read_text() == Path("b.txt").read_text() == f"prefect-{run.id}"
        assert not Path("last.txt").exists()

        mend()
        before = Path("first.txt").stat().st_mtime_ns
        done = command(project, "--retries", "0")
        assert done.returncode == 0, done.stderr
        run, tasks = last_run(client)
        assert run.state.is_completed() and list(tasks) == ORDER
        assert all(task.state.is_completed() for task in tasks.values())
        assert Path("last.txt").exists() and Path("first.txt").stat().st_mtime_ns == before
        until(
            lambda: "didn't change, skipping" in said(client, tasks["first"]),
            "the log of the skipped stage",
        )

    def test_targets_and_a_reproduction_of_a_given_name(
        self, pipeline: Path, project: Path, client: SyncPrefectClient
    ) -> None:
        done = command(project, "each@a", CION_REPRODUCTION="tonight")
        assert done.returncode == 0, done.stderr
        assert Path("a.txt").read_text() == "tonight" and not Path("b.txt").exists()
        assert list(last_run(client)[1]) == ["first", "flaky", "each@a"]

    def test_a_stop_leaves_no_process_behind(self, pipeline: Path, project: Path) -> None:
        write({"slow": {"cmd": "sleep 600", "outs": ["slow.txt"]}})
        environment = os.environ | {
            "PYTHONPATH": str(project),
            "PREFECT_HOME": str(pipeline / "home"),
        }
        environment.pop("PREFECT_API_URL", None)  # with a temporary server
        with open("log", "w") as log:
            flow = psutil.Popen(
                [sys.executable, "-m", "flows.reproduce"], env=environment, stdout=log, stderr=log
            )

        def sleeping() -> list[psutil.Process]:
            below = flow.children(recursive=True)
            return below if any(child.name() == "sleep" for child in below) else []

        below = until(sleeping, "the stage to run")
        flow.terminate()
        assert flow.wait(60) == 143
        gone, alive = psutil.wait_procs(below, timeout=60)
        assert gone and not alive

    def test_a_preempted_stage_goes_on_and_has_not_failed(
        self, pipeline: Path, project: Path, client: SyncPrefectClient
    ) -> None:
        told = "p = pathlib.Path('.cion'); known = (p / 'known').exists(); (p / 'known').touch(); "
        told += "known or (p / 'resume.json').write_text('{\\\"stage\\\": \\\"first\\\"}'); assert known; "
        Path(".cion").mkdir()
        write({"first": stage("first", [], told)})
        done = command(project, "--retries", "0")
        assert done.returncode == 0, done.stderr
        _, tasks = last_run(client)
        assert tasks["first"].run_count == 1 and not Path(".cion/resume.json").exists()
        until(
            lambda: "goes on from there" in said(client, tasks["first"]),
            "the log of the preempted stage",
        )

    def test_an_unknown_target_is_named(
        self, pipeline: Path, project: Path, client: SyncPrefectClient
    ) -> None:
        done = command(project, "nowhere")
        assert done.returncode == 1 and "nowhere" in done.stderr.splitlines()[-1]


def test_the_deployment_is_scheduled_and_a_worker_runs_it(
    pipeline: Path, project: Path, client: SyncPrefectClient
) -> None:
    mend()
    shutil.copy(project / "prefect.yaml", pipeline)
    shutil.copytree(project / "flows", pipeline / "flows")
    prefect("work-pool", "create", "cpu", "--type", "process")
    prefect("work-pool", "create", "gpu", "--type", "process")
    prefect("--no-prompt", "deploy", "--all")
    deployment = client.read_deployment_by_name("reproduce/nightly")
    assert deployment.work_pool_name == "cpu"
    (schedule,) = deployment.schedules
    assert schedule.active and schedule.schedule.cron == "0 2 * * *"

    def scheduled() -> list:
        return [run for run in client.read_flow_runs() if run.deployment_id == deployment.id]

    nights = until(scheduled, "the scheduler to plan the nights")
    assert all(run.expected_start_time.hour == 2 for run in nights)

    now = client.create_flow_run_from_deployment(
        deployment.id, parameters={"retry_delay_seconds": 0}
    )
    prefect("worker", "start", "--pool", "cpu", "--run-once")
    assert client.read_flow_run(now.id).state.is_completed()
    assert Path("last.txt").exists() and Path("b.txt").read_text() == f"prefect-{now.id}"
