"""The pipeline with other settings: an experiment of DVC's, in a copy of this folder.

The folder itself stays as it is. The copy is made and removed by `dvc exp run --temp`. What is left
is the experiment's commit, which `dvc exp show` lists and `dvc exp apply` takes over, and its
outputs in the cache, so that nothing of it is computed twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import dvc.api
from dvc.exceptions import DvcException
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows import commands
from flows.stage import progress_shown

COMPARISON = Path("data/reports/comparison.json")


@task(cache_policy=NO_CACHE, retry_condition_fn=commands.is_worth_retrying)
def run_experiment(
    name: str, settings: Mapping[str, object], targets: Sequence[str], reproduction: str,
    timeout_minutes: float | None,
) -> None:  # fmt: skip
    """Run the pipeline, or what the targets need of it, with other settings.

    Args:
        name: of the experiment.
        settings: {key of params.yaml: value}, for example {"pretrain.steps": 600}.
        targets: stages or groups of them; none: all.
        reproduction: the name under which MLflow groups the runs.
        timeout_minutes: after which it is ended.

    Raises:
        StageFailed: a stage failed; with its last lines.
    """
    changes = [f"--set-param={key}={json.dumps(value)}" for key, value in settings.items()]
    arguments = ["dvc", "exp", "run", "--temp", f"--name={name}", *changes, *targets]
    log, environment = get_run_logger().info, {"CION_REPRODUCTION": reproduction}
    with progress_shown("experiment") as progress:
        commands.run(arguments, log, environment, progress.show, timeout_minutes)
    log(f"`dvc exp show` lists {name}, `dvc exp apply {name}` takes it over")
    show_comparison_of(name)


def show_comparison_of(name: str) -> None:
    """The experiment's comparison as a table among the run's artifacts, if it has one."""
    try:
        text = dvc.api.read(COMPARISON.as_posix(), rev=name)
    except (DvcException, FileNotFoundError):
        return
    create_table_artifact(
        json.loads(text), "comparison", f"Each model on each benchmark, in the experiment {name}"
    )
