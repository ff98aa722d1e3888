"""Sends a stage to a work pool, waits for it, and brings home what it has made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Crashed

from flows import commands, orders
from flows.commands import StageFailed, Stopped
from flows.stage import dvc, parse_entry

# Between two looks at a stage that another worker runs.
LOOK_SECONDS = 2.0
# A worker has taken it.
BEGUN = (StateType.PENDING, StateType.RUNNING)


def send_to_pool(
    stage: str,
    pools: Sequence[str],
    reproduction: str,
    timeout_minutes: float | None,
    lost_after_seconds: float,
) -> None:
    """Let a worker of a pool make a stage; afterwards this folder and its dvc.lock have it.

    Args:
        stage: its address, such as denoise@video.
        pools: the first that has a worker takes it.
        reproduction: the name under which MLflow groups the runs.
        timeout_minutes: after which the worker ends the stage.
        lost_after_seconds: without a sign of life from the worker, after which it is given up.

    Raises:
        StageFailed: the stage did, or its worker was lost; with its last lines.
        Stopped: the flow is being ended; the worker is told so.
    """
    # 1. What the stage needs goes to the remote.
    with commands.folder_to_itself():
        if orders.is_made(stage):
            get_run_logger().info(f"{stage} didn't change, skipping")
            return
        order = orders.make_order(stage)
        if order.needed:
            dvc("push", *order.needed)

    # 2. A worker makes it.
    with get_client(sync_client=True) as client:
        pool = first_with_worker(client, pools)
        parameters = {
            "stage": stage,
            "reproduction": reproduction,
            "order": asdict(order),
            "timeout_minutes": timeout_minutes,
        }
        try:
            sent = run_deployment(
                f"stage/{pool}", parameters=parameters, flow_run_name=stage, timeout=0
            )
        except ObjectNotFound:
            raise StageFailed(
                f"{stage}: no deployment stage/{pool} on the Prefect server. Give prefect.yaml "
                "one for this pool, then `prefect --no-prompt deploy --all`"
            ) from None
        get_run_logger().info(f"{stage} goes to the work pool {pool}")
        ended = wait_for(client, sent.id, pool, lost_after_seconds)
        if not ended.state.is_completed():
            raise StageFailed(
                f"{stage} on the work pool {pool}: {ended.state.message or ended.state.name}"
            )
        found = artifacts(client, sent.id, "markdown")

    # 3. What it has made comes home; nothing does where the worker's folder is this one.
    if found:
        receive_outputs(stage, parse_entry(found[-1].data))


def first_with_worker(client: SyncPrefectClient, pools: Sequence[str]) -> str:
    """The first pool with a worker that is there now; the first of all if none has one."""
    for pool in pools:
        try:
            workers = client.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            continue
        if any(worker.status == WorkerStatus.ONLINE for worker in workers):
            return pool
    return pools[0]


def wait_for(
    client: SyncPrefectClient, sent: UUID, pool: str, lost_after_seconds: float
) -> FlowRun:
    """The run of a stage, once it has ended.

    Args:
        client: of the Prefect server.
        sent: the run.
        pool: the work pool that it was sent to.
        lost_after_seconds: without a sign of life from its worker, after which it is given up as
            crashed.

    Raises:
        Stopped: the flow is being ended; so is the run then.
    """
    last_sign, last_seen, told = None, time.monotonic(), False
    try:
        while True:
            run = client.read_flow_run(sent)
            if run.state.is_final():
                return run
            sign = (run.state.id, [found.updated for found in artifacts(client, sent, "progress")])
            nobody_has_it = run.state.type not in BEGUN
            if sign != last_sign or nobody_has_it:
                last_sign, last_seen = sign, time.monotonic()
            elif time.monotonic() - last_seen > lost_after_seconds:
                message = f"no sign of life from its worker for {lost_after_seconds:g} seconds"
                client.set_flow_run_state(sent, Crashed(message=message), force=True)
            if run.state.name == "Late" and not told:
                told = True
                get_run_logger().warning(
                    f"no worker takes {run.name}; start one: `prefect worker start --pool {pool} "
                    "--type process`"
                )
            if commands.CHILDREN.stopping.wait(LOOK_SECONDS):
                raise Stopped("the flow is being ended")
    except BaseException:
        client.set_flow_run_state(sent, Cancelling())
        raise


def artifacts(client: SyncPrefectClient, run: UUID, kind: str) -> list:
    """The artifacts of a kind that a run has made, in their order."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=[kind])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
    )
    return sorted(found, key=lambda artifact: artifact.created)


def receive_outputs(stage: str, entry: dict) -> None:
    """Let dvc.lock and this folder have what another folder has made."""
    with commands.folder_to_itself():
        orders.write_entry(stage, entry)
        dvc("pull", stage)
        orders.check_made(stage)
