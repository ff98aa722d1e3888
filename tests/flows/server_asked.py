"""What tests of flows ask a Prefect server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterTaskRunId,
)


def until(condition: Callable[[], object], what: str, seconds: float = 300.0) -> object:
    """Wait for a condition to hold and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)
    return value


def healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def last_run(client: SyncPrefectClient) -> tuple[object, dict[str, object]]:
    """The last begun run of `reproduce`, and its task runs by name in the order they began."""
    of_flow = FlowFilter(name=FlowFilterName(any_=["reproduce"]))
    run = max(client.read_flow_runs(flow_filter=of_flow), key=lambda run: run.created)
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    tasks = client.read_task_runs(flow_run_filter=only)
    return run, {task.name: task for task in sorted(tasks, key=lambda task: task.created)}


def said(client: SyncPrefectClient, task: object) -> str:
    """What a task run has logged."""
    logs = client.read_logs(LogFilter(task_run_id=LogFilterTaskRunId(any_=[task.id])))
    return "\n".join(log.message for log in logs)


def prefect(*arguments: str) -> None:
    """A command of Prefect's, in this folder."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
