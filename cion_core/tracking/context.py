"""What a run says of its surroundings: reproduction, revision, data, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil


def flatten(values: Mapping, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} to {"a.b": "1"}."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def reproduction() -> str | None:
    """What groups runs: $CION_REPRODUCTION, else the nearest dvc process above this one, else None."""
    if given := os.environ.get("CION_REPRODUCTION"):
        return re.sub(r"[^\w.-]", "-", given)
    for process in psutil.Process().parents():
        try:
            command, started = process.cmdline(), process.create_time()
        except psutil.Error:
            continue
        if any(Path(word).name == "dvc" for word in command[:3]):  # /path/to/dvc, python /path/to/dvc, python -m dvc
            # A process id alone comes round again.
            text = f"{platform.node()} {process.pid} {started}"
            return hashlib.sha256(text.encode()).hexdigest()[:16]
    return None


def title() -> str:
    """What such a group is called; its time is added."""
    return os.environ.get("CION_REPRODUCTION_TITLE", "reproduction")


def revision() -> dict[str, str]:
    """Tags: the git (and so DVC) revision, and whether the working tree differs from it; {} outside git.

    What a reproduction itself writes, dvc.lock and the reports, makes no tree dirty.
    """
    head = _git("rev-parse", "HEAD")
    if head is None:
        return {}
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)data/reports")
    return {"mlflow.source.git.commit": head, "cion.revision": head, "cion.dirty": str(bool(changes)).lower()}


def place() -> dict[str, str]:
    """Tags: the machine, whose load the run's system metrics are."""
    return {"cion.machine": platform.node()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def data() -> dict[str, str]:
    """Path and DVC hash of every DVC-tracked input of the stage that runs now; {} outside `dvc repro`."""
    if (stage := os.environ.get("DVC_STAGE")) is None:
        return {}
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            (current,) = repo.stage.collect(stage)
            paths = [dep.fs_path for dep in current.deps if dep.protocol == "local"]
            outs = {
                repo.fs.relpath(out.fs_path, repo.root_dir): out.hash_info.value
                for out in repo.index.outs
                if out.hash_info and any(_overlap(repo, out.fs_path, path) for path in paths)
            }
    except DvcException:
        return {}
    return dict(sorted(outs.items()))


def _overlap(repo, out: str, dep: str) -> bool:
    """Whether a stage depends on an output, on a part of it, or on a folder that it lies in."""
    return repo.fs.isin_or_eq(out, dep) or repo.fs.isin_or_eq(dep, out)


def machine() -> Callable[[], dict[str, float]]:
    """A sampler of this process's machine, under MLflow's names of system metrics; megabytes and percent."""
    process = psutil.Process()
    psutil.cpu_percent()  # the first call has nothing to compare with

    def sample() -> dict[str, float]:
        values = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": psutil.virtual_memory().percent,
            "system/process_memory_megabytes": process.memory_info().rss / 1e6,
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            values["system/gpu_memory_megabytes"] = torch.cuda.memory_reserved() / 1e6
        return values

    return sample
