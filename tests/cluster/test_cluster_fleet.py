"""Jobs on posts of a Ray cluster, and what is said where there is none, or not the right one."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import crew_jobs
import posts
import psutil
import pytest

from cion_core.cluster import shared_folder
from cion_core.cluster.address import check_address, no_cluster
from cion_core.errors import CionError


def test_a_post_does_jobs_and_goes_on_after_one_that_kills_its_worker(workspace: Path) -> None:
    """No Ray is needed for what a machine does."""
    with posts.begun(crew_jobs.do, crew_jobs.tool) as post:
        good, amount = post.do("reports 100")
        assert good.failure is None and amount == 100
        bad, amount = post.do("abort")
        assert (
            bad.failure == "the process died on it twice: killed by signal 6 (aborted)"
            and amount == 0
        )
        again, _ = post.do("good 2")
        assert again.failure is None and again.result[:2] == ("good 2", "the tool")


def test_a_machine_that_does_not_share_the_folder_says_so(workspace: Path) -> None:
    with shared_folder.shared_folder() as folder:
        folder.enter("this one")
        elsewhere = replace(folder, path=workspace / "elsewhere")
        with pytest.raises(
            CionError, match=r"machine 10\.0\.0\.2 of the cluster does not see .*elsewhere"
        ):
            elsewhere.enter("10.0.0.2")
        with pytest.raises(
            CionError, match=r"machine 10\.0\.0\.2 of the cluster runs another CION"
        ):
            replace(folder, code="of last week").enter("10.0.0.2")
    assert not list(workspace.glob(".cion/cluster/tokens/*"))


def test_files_of_other_machines_are_waited_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = workspace / "late.json"
    threading.Timer(0.7, late.touch).start()
    shared_folder.wait_for_files([late])
    assert late.exists()
    monkeypatch.setattr(shared_folder, "SIGHT_SECONDS", 0.6)
    with pytest.raises(
        CionError, match=r"has written never\.json, and it does not come into sight"
    ):
        shared_folder.wait_for_files([Path("never.json")])


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "10.0.0.5:", "10.0.0.5:head"])
def test_what_is_no_address_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = f"RAY_ADDRESS={re.escape(address)} is no address; valid is HOST:PORT .*10.0.0.5:6379"
    with pytest.raises(CionError, match=said):
        check_address()


def test_an_address_where_nobody_answers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_address()
    with pytest.raises(CionError, match=f"nobody answers at RAY_ADDRESS={address} .*valid is"):
        check_address()
    for port in ("0", "99999"):
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(CionError, match=f"nobody answers at RAY_ADDRESS=127.0.0.1:{port} "):
            check_address()


def test_what_answers_and_is_no_cluster_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:80")
    assert "what answers at RAY_ADDRESS=10.0.0.5:80 is no cluster of Ray's" in str(no_cluster())
    monkeypatch.delenv("RAY_ADDRESS")
    assert "start one with `ray start --head`" in str(no_cluster())


def test_ones_own_cluster_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("", "auto", "local"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_address()
    monkeypatch.delenv("RAY_ADDRESS")
    check_address()


ASK = """
from cion_core.errors import CionError
try:
    from cion_core.cluster import fleet
    list(fleet.work(["job"], None))
except CionError as error:
    print(error)
"""


def test_without_ray_the_command_that_installs_it_is_told(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['ray'] = None\n" + ASK],
        capture_output=True,
        text=True,
    )
    assert (
        done.stdout.strip() == "runtime.engine: ray is not installed here: pip install 'cion[ray]'"
    ), done.stderr


@pytest.mark.slow
def test_without_a_cluster_the_command_that_starts_one_is_told(
    workspace: Path, monkeypatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    if any(process.name() == "gcs_server" for process in psutil.process_iter()):
        pytest.skip("a Ray cluster runs on this machine")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(workspace))
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    assert "start one with `ray start --head`" in done.stdout, done.stdout + done.stderr[-2000:]


@pytest.mark.slow
def test_a_stage_ends_at_once_where_ray_address_leads_nowhere(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=120)
    said = "runtime.engine: ray: nobody answers at RAY_ADDRESS=127.0.0.1:1 "
    assert done.stdout.startswith(said), done.stdout + done.stderr[-2000:]


@pytest.mark.slow
def test_jobs_are_taken_as_they_are_needed_and_done_by_both_machines(machines) -> None:
    """Of a thousand jobs no more are taken from their iterator than the machines are at work on."""
    from cion_core.cluster import fleet

    taken, done, most = 0, [], 0

    def jobs():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield f"good {number}"

    equip = partial(posts.equip, function=crew_jobs.do, setup=None)
    for outcome in fleet.work(jobs(), equip):
        done.append(outcome)
        most = max(most, taken - len(done))
    assert len(done) == 1000 and len({outcome.job for outcome in done}) == 1000
    assert most <= 4
    assert len({outcome.result[2] for outcome in done}) == 2, "one process on each machine"


@pytest.mark.slow
def test_an_error_that_is_no_fault_of_a_job_ends_the_work(machines) -> None:
    from cion_core.cluster import fleet

    equip = partial(posts.equip, function=crew_jobs.do, setup=crew_jobs.misused_tool)
    with pytest.raises(CionError, match=r"no weights"):
        list(fleet.work(["good 1"], equip))
