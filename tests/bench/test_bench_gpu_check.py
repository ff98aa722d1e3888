"""The checks for a GPU, at a size for a CPU; what they print on a GPU is in docs/bench.md."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_check_that_a_cpu_can_answer_passes(project):
    command = [sys.executable, "bench/gpu_check.py", "--tiny", "--device", "cpu", "--limit", "1500"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and done.stdout.rstrip().endswith("not reached: nothing")
    for check in (
        "bfloat16 against float64",
        "SIGKILL and resume",
        "two processes against one",
        "10 structures",
    ):
        assert f"| {check}" in done.stdout or check in done.stdout


def test_it_ends_by_itself_and_says_what_it_did_not_reach(project):
    command = [sys.executable, "bench/gpu_check.py", "--tiny", "--device", "cpu", "--limit", "0.1"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 3 and "0.1 seconds are over" in done.stdout
    assert "two processes against one" in done.stdout.split("not reached: ")[1]


def test_it_needs_neither_dvc_nor_mlflow_nor_prefect(project):
    """A machine with a GPU may have nothing of the project but its files."""
    script = """
import sys
sys.path[:0] = ["bench", "."]
absent = "dvc mlflow prefect pandas pandera fastapi sklearn scipy supervision"
for name in absent.split():
    sys.modules[name] = None  # an import of it fails
import gpu_right, gpu_speed
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
