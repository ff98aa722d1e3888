"""The rows of the comparison in MLflow: brought up to date with those that are kept, any number of times."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from cion_core import work
from cion_core.tracking import deliver, rows, views
from cion_core.tracking.rows import ModelRow

LATEST, EARLIER = "latest", "earlier"


def send(limit: float = math.inf) -> None:
    """Bring the experiment up to date with the rows that are kept, and forget those.

    Args:
        limit: seconds after which the next row is not begun.

    Raises:
        deliver.ERRORS: what was sent until then stays sent.
    """
    deadline = time.monotonic() + limit
    kept = rows.kept()
    models = [ModelRow(**row) for row in kept["rows"]]
    best_first = sorted(models, key=lambda row: -row.metrics["mAP"])
    client = deliver.client()
    experiment = deliver.find_experiment(client, deliver.experiment())
    known = {run.data.tags["cion.id"]: run for run in deliver.search(client, experiment, "tags.`cion.kind` = 'model'")}
    for place, row in enumerate(reversed(best_first)):  # MLflow lists what was made last first
        if time.monotonic() > deadline:
            raise TimeoutError("MLflow takes too long")
        _send(client, experiment, row, known.pop(row.id, None), kept["tags"], kept["time"] + place)
    for run in known.values():
        if run.data.tags.get("cion.comparison") == LATEST:
            client.update_run(run.info.run_id, name=f"{run.info.run_name} ({EARLIER})")
            client.set_tag(run.info.run_id, "cion.comparison", EARLIER)
    benchmarks = list(dict.fromkeys(row.params["benchmark"] for row in models))
    shown = views.views(benchmarks, _names(models, "metrics"), _names(models, "curves"), kept["time"])
    for tag, value in {**shown, views.NOTE: views.note(best_first, benchmarks, experiment)}.items():
        client.set_experiment_tag(experiment, tag, value)
    rows.sent(views.page(experiment, benchmarks[0]))


def _names(models: list[ModelRow], kind: str) -> list[str]:
    return list(dict.fromkeys(name for row in models for name in getattr(row, kind)))


def _send(
    client: deliver.Client, experiment: str, row: ModelRow, old: deliver.Run | None, tags: Mapping, now: int
) -> None:
    """One row: in its own place, or in a run that replaces it where a curve is another, as MLflow changes no curve."""
    fixed = work.key([dict(row.params), row.curves, row.data])
    if old is None or old.data.tags.get("cion.key") != fixed:
        if old is not None:
            client.delete_run(old.info.run_id)
        run, have = _create(client, experiment, row, now), {}
        tags = {**tags, "cion.key": fixed}  # last of all: what was sent in part is not taken for a whole row
    else:
        run, have = old.info.run_id, old.data.metrics
        client.update_run(run, name=row.name)
    numbers = [deliver.Metric(name, value, now, 0) for name, value in row.metrics.items() if have.get(name) != value]
    tags = {**tags, "cion.comparison": LATEST}
    client.log_batch(run, metrics=numbers, tags=[deliver.RunTag(name, value) for name, value in tags.items()])


def _create(client: deliver.Client, experiment: str, row: ModelRow, now: int) -> str:
    """A run with all of a row that does not change."""
    about = {"cion.id": row.id, "cion.kind": "model", "mlflow.source.name": "cion"}
    run = client.create_run(experiment, now, about, row.name).info.run_id
    client.log_batch(run, params=[deliver.Param(name, value) for name, value in row.params.items()])
    points = [(name, *point) for name, curve in row.curves.items() for point in curve]
    for first in range(0, len(points), deliver.BATCH):
        some = points[first : first + deliver.BATCH]
        client.log_batch(run, metrics=[deliver.Metric(name, value, now, int(step)) for name, step, value in some])
    deliver.log_data(client, run, row.data)
    client.set_terminated(run, "FINISHED", now)
    return run
