"""Worker processes in which a job that kills its process costs nothing else."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import crew_jobs
import psutil
import pytest

from cion_core import crew
from cion_core.errors import CionError


def outcomes(jobs: list[str], processes: int = 2, **options: object) -> dict[str, crew.Outcome]:
    """What became of each job, by its name."""
    return {outcome.job: outcome for outcome in crew.work(jobs, crew_jobs.do, processes, **options)}


def test_every_job_is_done_once_with_the_tool_that_its_worker_has_set_up() -> None:
    jobs = [f"good {number}" for number in range(9)]
    done = outcomes(jobs, setup=crew_jobs.tool)
    assert set(done) == set(jobs)
    assert all(
        outcome.failure is None and outcome.result[:2] == (job, "the tool")
        for job, outcome in done.items()
    )
    processes = {outcome.result[2] for outcome in done.values()}
    assert len(processes) <= 2 and os.getpid() not in processes


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("crash", r"^the process died on it twice: killed by signal 11 \(segmentation fault\)$"),
        ("abort", r"^the process died on it twice: killed by signal 6 \(aborted\)$"),
        ("exit", r"^the process died on it twice: it ended by itself with code 3$"),
        (
            "killed",
            r"^the process died on it twice: "
            r"killed by signal 9 \(by the system, .*memory, or by somebody\)$",
        ),
        (
            "fail",
            r"^working on it failed twice: KeyError: 'no such key' \(crew_jobs\.py, line \d+\)$",
        ),
        ("leave", r"^working on it failed twice: SystemExit: leaving \(crew_jobs\.py, line \d+\)$"),
    ],
)
def test_a_bad_job_is_handed_back_with_its_reason_and_the_others_are_done(
    bad: str, reason: str
) -> None:
    done = outcomes(["good 1", bad, "good 2", "good 3"])
    assert [job for job, outcome in done.items() if outcome.failure] == [bad]
    assert re.search(reason, done[bad].failure)


def test_a_job_that_hangs_ends_even_with_the_interpreters_lock_held() -> None:
    done = outcomes(["hang", "good"], silence=1.0)
    assert (
        done["hang"].failure
        == "the process died on it twice: it gave no sign of life for 1 seconds"
    )
    assert done["good"].failure is None


def test_a_job_that_takes_all_memory_ends_before_the_machine_does() -> None:
    done = outcomes(["eat", "good"], memory=256 * crew_jobs.MEBIBYTE)
    assert (
        done["eat"].failure == "the process died on it twice: it took more than 0.2 GiB of memory"
    )
    assert done["good"].failure is None


@pytest.mark.parametrize("bad", ["crash", "fail"])
def test_a_job_that_fails_once_is_done_in_a_fresh_process(bad: str, tmp_path: Path) -> None:
    before, job, after = "good before", f"once {bad} {tmp_path / 'tried'}", "good after"
    done = outcomes([before, job, after], processes=1)
    assert all(outcome.failure is None for outcome in done.values())
    first, second, third = (done[name].result[2] for name in (before, after, job))
    assert len({first, third}) == 2
    assert second != first, "what was left of the dead worker is not used"


def test_progress_is_told() -> None:
    told: list[int] = []
    outcomes(["reports 100", "reports 50"], report=told.append)
    assert sum(told) == 150


def test_reports_of_a_failed_try_are_taken_back() -> None:
    told: list[int] = []
    outcomes(["reports-and-fails 40"], processes=1, report=told.append)
    assert told == [40, -40, 40, -40]


@pytest.mark.parametrize(
    ("bad", "message"), [("misuse", "this must be another"), ("fill", "No space left on device")]
)
def test_what_the_user_must_put_right_ends_the_crew(bad: str, message: str) -> None:
    with pytest.raises(CionError, match=message):
        outcomes([bad, "good"])
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (crew_jobs.misused_tool, "^no weights: put them there$"),
        (
            crew_jobs.broken_tool,
            r"could not begin: ValueError: not a tool \(crew_jobs\.py, line \d+\)",
        ),
        (crew_jobs.dying_tool, r"could not begin: killed by signal 6 \(aborted\)"),
    ],
)
def test_workers_that_cannot_begin_end_the_crew(setup, message: str) -> None:
    with pytest.raises(CionError, match=message):
        outcomes(["good"], setup=setup)


def test_no_jobs_start_no_process() -> None:
    assert list(crew.work([], crew_jobs.do, 2)) == []


PARENT = """
import crew_jobs
from cion_core import crew

if __name__ == "__main__":
    for outcome in crew.work(["good", "wait"], crew_jobs.do, 1):
        print(outcome.result[2], flush=True)
"""


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PARENT)
    folders = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": folders}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    worker = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    worker.wait(timeout=60)
