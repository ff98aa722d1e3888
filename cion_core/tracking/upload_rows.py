"""Uploads the rows of the comparison to MLflow, and can do so any number of times."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from cion_core import work
from cion_core.tracking import rows, server, views
from cion_core.tracking.rows import ModelRow
from cion_core.tracking.upload import METRICS_AT_ONCE

# The tag that tells rows of the latest comparison from those of earlier ones.
COMPARISON_TAG = "cion.comparison"
LATEST = "latest"
EARLIER = "earlier"


def upload_rows(limit: float = math.inf) -> None:
    """Make the experiment show the rows that are kept on this machine, then forget them here.

    Args:
        limit: seconds after which no further row is begun.

    Raises:
        server.ERRORS: what was uploaded until then stays uploaded.
    """
    deadline = time.monotonic() + limit
    kept = rows.read_kept()
    models = [ModelRow(**row) for row in kept["rows"]]
    best_first = sorted(models, key=lambda row: -row.metrics["mAP"])
    client = server.connect()
    experiment = server.open_experiment(client, server.comparison_name())
    known = _find_known(client, experiment)

    # 1. Each row, the worst first: MLflow lists at the top what was made last.
    for place, row in enumerate(reversed(best_first)):
        if time.monotonic() > deadline:
            raise TimeoutError("MLflow takes too long")
        old_run = known.pop(row.id, None)
        _upload_row(client, experiment, row, old_run, kept["tags"], kept["time"] + place)

    # 2. What is left over is of an earlier comparison.
    for run in known.values():
        if run.data.tags.get(COMPARISON_TAG) == LATEST:
            client.update_run(run.info.run_id, name=f"{run.info.run_name} ({EARLIER})")
            client.set_tag(run.info.run_id, COMPARISON_TAG, EARLIER)

    # 3. How the experiment is shown.
    benchmarks = list(dict.fromkeys(row.params["benchmark"] for row in models))
    metrics = _unique_names(row.metrics for row in models)
    curves = _unique_names(row.curves for row in models)
    tags = views.describe_views(benchmarks, metrics, curves, kept["time"])
    tags[views.NOTE_TAG] = views.write_note(best_first, benchmarks, experiment)
    for tag, value in tags.items():
        client.set_experiment_tag(experiment, tag, value)
    rows.forget(views.find_page(experiment, benchmarks[0]))


def _find_known(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """The rows that MLflow has, by their id."""
    runs = server.search_runs(client, experiment, "tags.`cion.kind` = 'model'")
    return {run.data.tags["cion.id"]: run for run in runs}


def _unique_names(mappings) -> list[str]:
    """The keys of some mappings, each once, in the order in which they come first."""
    names = {}
    for mapping in mappings:
        names |= dict.fromkeys(mapping)
    return list(names)


def _upload_row(
    client: MlflowClient,
    experiment: str,
    row: ModelRow,
    old_run: Run | None,
    tags: Mapping,
    now: int,
) -> None:
    """Upload one row, into its own run; into a new one that replaces it where a curve has changed.

    MLflow can change a number, but no curve.
    """
    fixed_key = work.key([dict(row.params), row.curves, row.data])
    row_tags = {**tags}
    if old_run is not None and old_run.data.tags.get("cion.key") == fixed_key:
        run = old_run.info.run_id
        known_metrics = old_run.data.metrics
        client.update_run(run, name=row.name)
    else:
        if old_run is not None:
            client.delete_run(old_run.info.run_id)
        run = _create_run(client, experiment, row, now)
        known_metrics = {}
        # Set with the last request, so that a row that was sent in part is not taken for a whole
        # one.
        row_tags["cion.key"] = fixed_key
    row_tags[COMPARISON_TAG] = LATEST

    changed = []
    for name, value in row.metrics.items():
        if known_metrics.get(name) != value:
            changed.append(Metric(name, value, now, 0))
    run_tags = [RunTag(name, value) for name, value in row_tags.items()]
    client.log_batch(run, metrics=changed, tags=run_tags)


def _create_run(client: MlflowClient, experiment: str, row: ModelRow, now: int) -> str:
    """Create a run with what of a row never changes: params, curves, data; return MLflow's id."""
    tags = {"cion.id": row.id, "cion.kind": "model", "mlflow.source.name": "cion"}
    run = client.create_run(experiment, now, tags, row.name).info.run_id
    params = [Param(name, value) for name, value in row.params.items()]
    client.log_batch(run, params=params)

    points = []
    for name, curve in row.curves.items():
        points += [Metric(name, value, now, int(step)) for step, value in curve]
    for start in range(0, len(points), METRICS_AT_ONCE):
        client.log_batch(run, metrics=points[start : start + METRICS_AT_ONCE])

    server.log_data_sets(client, run, row.data)
    client.set_terminated(run, "FINISHED", now)
    return run
