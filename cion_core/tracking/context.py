"""Where a run is made: in which reproduction, of which revision and data, on which machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil


def find_reproduction() -> str | None:
    """The id of the reproduction that this process belongs to; None outside of one.

    It is $CION_REPRODUCTION, else made of the nearest dvc process above this one.
    """
    if given := os.environ.get("CION_REPRODUCTION"):
        return re.sub(r"[^\w.-]", "-", given)
    for process in psutil.Process().parents():
        try:
            command = process.cmdline()
            started = process.create_time()
        except psutil.Error:
            continue
        # It is started as `/path/to/dvc`, `python /path/to/dvc` or `python -m dvc`.
        if any(Path(word).name == "dvc" for word in command[:3]):
            # The system gives a process id again after a while, so the time belongs to it.
            text = f"{platform.node()} {process.pid} {started}"
            return hashlib.sha256(text.encode()).hexdigest()[:16]
    return None


def reproduction_title() -> str:
    """What a group of runs is called; its time is added when it is uploaded."""
    return os.environ.get("CION_REPRODUCTION_TITLE", "reproduction")


def describe_revision() -> dict[str, str]:
    """Tags: the git (and so DVC) revision, and whether the working tree differs from it.

    What a reproduction itself writes, dvc.lock and the reports, does not count as a difference.

    Returns:
        The tags; {} outside git.
    """
    head = _run_git("rev-parse", "HEAD")
    if head is None:
        return {}
    written_by_us = (":(exclude)dvc.lock", ":(exclude)data/reports")
    changes = _run_git("status", "--porcelain", "--", ".", *written_by_us)
    is_dirty = "true" if changes else "false"
    return {"mlflow.source.git.commit": head, "cion.revision": head, "cion.dirty": is_dirty}


def describe_machine() -> dict[str, str]:
    """Tags: the machine, whose load the run's system metrics are."""
    return {"cion.machine": platform.node()}


def _run_git(*arguments: str) -> str | None:
    """What git prints, None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def find_data() -> dict[str, str]:
    """{path: DVC's hash} of every tracked input of the stage that runs now; {} outside of DVC."""
    stage_name = os.environ.get("DVC_STAGE")
    if stage_name is None:
        return {}
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    hashes = {}
    try:
        with Repo() as repo:
            (stage,) = repo.stage.collect(stage_name)
            inputs = [dep.fs_path for dep in stage.deps if dep.protocol == "local"]
            for output in repo.index.outs:
                if output.hash_info and _is_input(repo, output.fs_path, inputs):
                    path = repo.fs.relpath(output.fs_path, repo.root_dir)
                    hashes[path] = output.hash_info.value
    except DvcException:
        return {}
    return dict(sorted(hashes.items()))


def _is_input(repo, output: str, inputs: list[str]) -> bool:
    """Whether a stage reads an output: the whole, a part of it, or a folder that it lies in."""
    lies_in = repo.fs.isin_or_eq
    return any(lies_in(output, path) or lies_in(path, output) for path in inputs)


def machine_sampler() -> Callable[[], dict[str, float]]:
    """Make a function that measures this process and its machine, by MLflow's names.

    Returns:
        The function; it gives percent and megabytes.
    """
    process = psutil.Process()
    # The share of the CPU is that since the last call, so the first call means nothing.
    psutil.cpu_percent()

    def sample() -> dict[str, float]:
        values = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": psutil.virtual_memory().percent,
            "system/process_memory_megabytes": process.memory_info().rss / 1e6,
        }
        # Asked only where the stage has loaded torch and uses a GPU already.
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            values["system/gpu_memory_megabytes"] = torch.cuda.memory_reserved() / 1e6
        return values

    return sample
