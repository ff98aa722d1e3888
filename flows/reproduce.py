"""The flow `reproduce`: one task per DVC stage, taken from DVC, in the order of its graph.

    python -m flows.reproduce [STAGE ...]

runs all stages, or these with what they need, as `dvc repro` takes them. Without PREFECT_API_URL a
server lives as long as the run. Each task is `dvc repro --single-item STAGE`: DVC alone decides
what is to be done, and a second run skips what is done. DVC works on one stage of a workspace at a
time, and so do the tasks; what depends on a failed one does not run, what does not goes on.

A stage that `runtime.pools` of params.yaml names goes to a worker of that pool instead
(`flows.elsewhere`); stages of several pools run side by side.

With other settings (`--set pretrain.steps=600`) it is an experiment, in a copy of this folder
(`flows.experiment`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from dvc.exceptions import DvcException
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ThreadPoolTaskRunner

from cion_core import config
from cion_core.errors import CionError
from flows import commands
from flows.commands import StageFailed, Stopped
from flows.elsewhere import send_to_pool
from flows.experiment import COMPARISON, run_experiment
from flows.graph import pools_of, stages
from flows.stage import progress_shown, repro

# Stages that wait for workers at once.
SIDE_BY_SIDE = 32
# Between two looks at a flow that is paused.
LOOK_SECONDS = 2.0
REPORT = Path("data/reports/index.html")


# DVC knows what is done, so Prefect keeps nothing.
@task(cache_policy=NO_CACHE, retry_condition_fn=commands.is_worth_retrying)
def run_stage(
    stage: str,
    pools: Sequence[str],
    reproduction: str,
    timeout_minutes: float | None,
    lost_after_seconds: float,
) -> None:
    """A stage, here or on a worker of a pool, its output in the log as it comes.

    Args:
        stage: its address, such as denoise@video.
        pools: work pools of which one may make it; none: it is made here.
        reproduction: the name under which MLflow groups the runs.
        timeout_minutes: after which it is ended, and has failed.
        lost_after_seconds: as of `reproduce`.

    Raises:
        StageFailed: the stage did; with its last lines.
    """
    wait_while_paused()
    if pools:
        send_to_pool(stage, pools, reproduction, timeout_minutes, lost_after_seconds)
        return
    with progress_shown(stage) as progress, commands.folder_to_itself():
        repro(stage, reproduction, progress.show, timeout_minutes)
    if stage == "compare":
        show_comparison()


def wait_while_paused() -> None:
    """Let no stage begin while the flow is paused in Prefect's interface.

    Raises:
        Stopped: the flow was cancelled, or is being ended.
    """
    told = False
    with get_client(sync_client=True) as client:
        while (state := client.read_flow_run(flow_run.id).state).is_paused():
            if not told:
                get_run_logger().info("paused: the next stage begins when the flow is resumed")
            told = True
            if commands.CHILDREN.stopping.wait(LOOK_SECONDS):
                raise Stopped("the flow is being ended")
    if state.is_cancelling() or state.is_cancelled():
        commands.CHILDREN.stop()
        raise Stopped("the flow was cancelled")


def show_comparison() -> None:
    """The comparison as a table among the run's artifacts, and a link to the report."""
    if COMPARISON.exists():
        create_table_artifact(
            json.loads(COMPARISON.read_text()), "comparison", "Each model on each benchmark"
        )
    if REPORT.exists():
        create_link_artifact(
            REPORT.absolute().as_uri(), "The report", "report", "On the machine that ran `compare`"
        )


@flow(name="reproduce", task_runner=ThreadPoolTaskRunner(max_workers=SIDE_BY_SIDE))
def reproduce(
    targets: list[str] | None = None,
    retries: int = 1,
    retry_delay_seconds: float = 10,
    timeout_minutes: float | None = None,
    lost_after_seconds: float = 180,
    settings: dict[str, Any] | None = None,
) -> None:
    """From raw videos to the comparison, or to the given stages.

    Args:
        targets: stages or groups of them, with what they need; none: all.
        retries: of a failing stage.
        retry_delay_seconds: before each retry.
        timeout_minutes: of each try of each stage, or of an experiment as a whole; none: no limit.
        lost_after_seconds: without a sign of life from the worker of another machine, until its
            stage is sent again.
        settings: {key of params.yaml: value}: with these it is an experiment, all on this machine.

    Raises:
        StageFailed: names the stages that failed and those that therefore did not run.
    """
    # All of one flow are one reproduction in MLflow.
    reproduction = os.environ.get("CION_REPRODUCTION") or f"prefect-{flow_run.id}"
    if settings:
        # Names of flow runs alone come round again.
        experiment = f"{flow_run.name}-{str(flow_run.id)[:4]}"
        run = run_experiment.with_options(
            task_run_name=experiment, retries=retries, retry_delay_seconds=retry_delay_seconds
        )
        with ended_with_this_flow():
            run(experiment, settings, targets or (), reproduction, timeout_minutes)
        return
    needs = stages(targets or ())
    pools = pools_of(needs)
    futures: dict[str, PrefectFuture] = {}
    with ended_with_this_flow():
        for stage, needed in needs.items():
            run = run_stage.with_options(
                name=stage,
                task_run_name=stage,
                retries=retries,
                retry_delay_seconds=retry_delay_seconds,
            )
            futures[stage] = run.submit(
                stage, pools[stage], reproduction, timeout_minutes, lost_after_seconds,
                wait_for=[futures[name] for name in needed],
            )  # fmt: skip
            in_one_folder = not any(pools.values())
            if in_one_folder:  # one after the other, in the order of dvc.yaml
                futures[stage].wait()
        for future in futures.values():
            future.wait()
    raise_failed(futures)


@contextmanager
def ended_with_this_flow() -> Iterator[None]:
    """Where the flow is cancelled, not a grandchild may go on writing."""
    try:
        yield
    except BaseException:
        commands.CHILDREN.stop()
        raise


def raise_failed(futures: dict[str, PrefectFuture]) -> None:
    """Raise StageFailed if a stage has failed, with what it said last."""
    states = {stage: future.state for stage, future in futures.items()}
    failed = [stage for stage, state in states.items() if state.is_failed() or state.is_crashed()]
    if not failed:
        return
    waiting = [stage for stage, state in states.items() if not state.is_final()]
    said = [str(states[stage].result(raise_on_failure=False)) for stage in failed]
    raise StageFailed(
        f"failed: {', '.join(failed)}; not run because of that: {', '.join(waiting) or 'none'}. "
        "What is done stays done; run again to go on from there.\n" + "\n".join(said)
    )


def check_server() -> None:
    """End with three lines if the Prefect server that PREFECT_API_URL names does not answer."""
    url = PREFECT_API_URL.value()
    if url is None:
        return  # a server of the run's own
    try:
        # One that is busy is slow to answer; one that is not there refuses at once.
        httpx.get(f"{url}/health", timeout=httpx.Timeout(60, connect=10)).raise_for_status()
    except httpx.HTTPError as error:
        sys.exit(
            f"reproduce: no Prefect server at {url} ({type(error).__name__}: {str(error)[:80]})\n"
            "  start one with `make prefect`, or correct PREFECT_API_URL;\n"
            "  without PREFECT_API_URL the flow has a server of its own"
        )


def parse_change(text: str) -> tuple[str, Any]:
    """`pretrain.steps=600` as a key and a value, which is read as params.yaml would read it."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(
            f"{text}: not of the form KEY=VALUE, such as pretrain.steps=600"
        )
    try:
        return key, config.parse_yaml(value, text)
    except CionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    """`python -m flows.reproduce`."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.reproduce", description=reproduce.__doc__.splitlines()[0]
    )
    parser.add_argument(
        "targets", nargs="*", metavar="STAGE", help="with what they need; all stages by default"
    )
    parser.add_argument("--retries", type=int, default=1, help="of a failing stage (1)")
    parser.add_argument(
        "--retry-delay-seconds", type=float, default=10, help="before each retry (10)"
    )
    parser.add_argument("--timeout-minutes", type=float, help="of each try of a stage (none)")
    parser.add_argument(
        "--lost-after-seconds", type=float, default=180,
        help="without a sign of life from another machine's worker, until its stage is sent again "
             "(180)",
    )  # fmt: skip
    parser.add_argument(
        "--set", dest="settings", metavar="KEY=VALUE",
        action="append", type=parse_change, default=[],
        help="of params.yaml: an experiment with this setting, in a copy of this folder; may be "
             "given several times",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.settings = dict(arguments.settings)
    # By default the signal ends this process at once, and a temporary server outlives it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    check_server()
    try:
        reproduce(**vars(arguments))
    except (StageFailed, DvcException, CionError) as error:
        sys.exit(f"reproduce: {error}")
    except (httpx.HTTPError, PrefectException) as error:
        sys.exit(
            f"reproduce: the Prefect server does not answer any more ({type(error).__name__})\n"
            "  what is done stays done; once it is back, run again to go on from there"
        )


if __name__ == "__main__":
    main()
