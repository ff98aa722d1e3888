"""The flow `reproduce`: one task per DVC stage, taken from DVC, in the order of its graph.

    python -m flows.reproduce [STAGE ...]       all, or these with what they need, as `dvc repro` takes them

Without PREFECT_API_URL a server lives as long as the run. Each task is `dvc repro --single-item STAGE`: DVC alone
decides what is to be done, and a second run skips what is done. DVC works on one stage of a workspace at a time,
and so do the tasks; what depends on a failed one does not run, what does not goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import State

from cion_core import work
from cion_core.training import stop

TAIL = 25  # lines of a failed stage that its error repeats
RESUME = work.ROOT / stop.RESUME


class StageFailed(Exception):
    """A stage, or some stages of a flow; the message holds what they said last."""


def stages(targets: Sequence[str] = ()) -> dict[str, list[str]]:
    """Each stage and those it needs, in an order that can be run: that of dvc.yaml where the graph allows it.

    Args:
        targets: stages or groups of them, which come with all they need; none: every stage of dvc.yaml. As with `dvc
            repro`, those of other files, such as studies/dvc.yaml, run where they are named.

    Raises:
        DvcException: no DVC repository here, an invalid dvc.yaml, an unknown target.
    """
    with Repo() as repo:
        graph = repo.index.graph  # from a stage to what it needs
        place = {stage: position for position, stage in enumerate(repo.index.stages)}
        wanted = {stage for target in targets or ("dvc.yaml",) for stage in repo.stage.collect(target)}
        wanted |= {needed for stage in wanted for needed in networkx.descendants(graph, stage)}
        order = networkx.lexicographical_topological_sort(graph.subgraph(wanted).reverse(), key=place.get)
        return {stage.addressing: [needed.addressing for needed in graph.successors(stage)] for stage in order}


@task(cache_policy=NO_CACHE)  # what is done, DVC knows
def run_stage(stage: str, reproduction: str) -> None:
    """`dvc repro --single-item STAGE`, its output in the log as it comes; again where it was only told to end.

    Raises:
        StageFailed: the command did; with its last lines.
    """
    while repro(stage, reproduction):
        get_run_logger().info(f"{stage} was told to end and has left a checkpoint: it goes on from there")


def repro(stage: str, reproduction: str) -> bool:
    """One `dvc repro --single-item STAGE`; whether it left `resume.json`, and so asks to be run again.

    The file says so, since DVC ends with a code of its own whatever the stage's was.
    """
    log = get_run_logger()
    tail: deque[str] = deque(maxlen=TAIL)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # where `cion` is
    environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "CION_REPRODUCTION": reproduction}
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", stage],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for line in map(str.rstrip, process.stdout):
                if line:
                    log.info(line)
                    tail.append(line)
        except BaseException:  # cancelled: not a grandchild may go on writing
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode and RESUME.exists() and json.loads(RESUME.read_text())["stage"] == stage:
        RESUME.unlink()
        return True
    if process.returncode:
        raise StageFailed(f"{stage}: exit code {process.returncode}\n" + "\n".join(tail))
    return False


@flow(name="reproduce")
def reproduce(targets: list[str] | None = None, retries: int = 1, retry_delay_seconds: float = 10) -> None:
    """From raw videos to the comparison, or to the given stages.

    Raises:
        StageFailed: names the stages that failed and those that therefore did not run.
    """
    # All of one flow are one reproduction in MLflow.
    reproduction = os.environ.get("CION_REPRODUCTION") or f"prefect-{flow_run.id}"
    states: dict[str, State] = {}
    for stage, needed in stages(targets or ()).items():
        run = run_stage.with_options(
            name=stage, task_run_name=stage, retries=retries, retry_delay_seconds=retry_delay_seconds
        )
        states[stage] = run(stage, reproduction, wait_for=[states[name] for name in needed], return_state=True)
    failed = [stage for stage, state in states.items() if state.is_failed() or state.is_crashed()]
    if failed:
        waiting = [stage for stage, state in states.items() if not state.is_final()]
        said = [str(states[stage].result(raise_on_failure=False)) for stage in failed]
        raise StageFailed(
            f"failed: {', '.join(failed)}; not run because of that: {', '.join(waiting) or 'none'}. "
            "What is done stays done; run again to go on from there.\n" + "\n".join(said)
        )


def main() -> None:
    """`python -m flows.reproduce`."""
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description=reproduce.__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="with what they need; all stages by default")
    parser.add_argument("--retries", type=int, default=1, help="of a failing stage (1)")
    parser.add_argument("--retry-delay-seconds", type=float, default=10, help="before each retry (10)")
    # By default the signal ends this process at once, and a temporary server outlives it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        reproduce(**vars(parser.parse_args()))
    except (StageFailed, DvcException) as error:
        sys.exit(f"reproduce: {error}")


if __name__ == "__main__":
    main()
