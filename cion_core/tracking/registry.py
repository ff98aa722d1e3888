"""Exported models in MLflow's registry: one registered model, a version per weights, an alias per benchmark's best.

`champion-BENCHMARK` moves only through `gate`. A version carries its card as the logged model's metadata, and what the
gate goes by as tags, so that the gate needs nothing but the registry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.tracking import deliver

NAME = "cion"


@dataclass(frozen=True)
class Registered:
    """A version, the benchmarks that it is now champion of, and why it is not that of others."""

    version: str
    champion: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def gate(mean_ap: float, champion: float | None, wrong: Sequence[str]) -> str | None:
    """Why a model does not become a benchmark's champion, or None if it does.

    Args:
        mean_ap: its mAP there, in percent.
        champion: that of the present champion, None if there is none.
        wrong: what the sanity check found.
    """
    if wrong:
        return "; ".join(wrong)
    if champion is not None and not mean_ap > champion:
        return f"mAP {mean_ap:.2f} is not above the champion's {champion:.2f}"
    return None


def register(model, image: tuple[int, int], card: Mapping, weights: str, wrong: Sequence[str]) -> Registered:
    """Log `model` with signature and card, make it a version, and let it through the gate of each benchmark.

    Args:
        model: torch.nn.Module in eval mode on the CPU, [B, 3, H, W] float32 to [B, D].
        image: height and width of its images.
        card: its card; `metrics` there are {benchmark: {"mAP": percent, ...}}.
        weights: a hash of its weights; weights that are registered already keep their version.
        wrong: what the sanity check found.

    Raises:
        CionError: MLflow does not take it.
    """
    try:
        client = deliver.client()
        version = _known(client, weights) or _create(client, _log(client, model, image, card, weights), card, weights)
        verdicts = {benchmark: _promote(client, version, benchmark, numbers["mAP"], wrong)
                    for benchmark, numbers in card.get("metrics", {}).items()}  # fmt: skip
    except deliver.ERRORS as error:
        raise CionError(f"MLflow at {deliver.uri()} does not take the model: {str(error).splitlines()[0]}") from None
    return Registered(
        version.version,
        [benchmark for benchmark, reason in verdicts.items() if reason is None],
        {benchmark: reason for benchmark, reason in verdicts.items() if reason is not None},
    )


def alias(benchmark: str) -> str:
    """The alias of a benchmark's champion, in the letters that MLflow allows."""
    return f"champion-{re.sub(r'[^A-Za-z0-9_-]', '_', benchmark)}"


def training_run(kind: str, name: str) -> str:
    """MLflow's id of the last finished run of a stage, such as pretrain of cion-resnet50; "" if none is known."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path("mlflow.db").exists():
        return ""
    try:
        client = deliver.client()
        experiment = client.get_experiment_by_name(deliver.reproductions())
        query = f"tags.`cion.stage` = '{kind}' and tags.`cion.name` = '{name}' and attributes.status = 'FINISHED'"
        order = ["attributes.start_time DESC"]
        found = (
            client.search_runs([experiment.experiment_id], query, max_results=1, order_by=order) if experiment else []
        )
    except deliver.ERRORS as error:
        say(f"MLflow at {deliver.uri()} is not reached ({type(error).__name__}); the card does not name the run")
        return ""
    return found[0].info.run_id if found else ""


def _known(client: deliver.Client, weights: str) -> deliver.Version | None:
    found = client.search_model_versions(f"name = '{NAME}' and tags.`cion.weights` = '{weights}'")
    return found[0] if found else None


def _log(client: deliver.Client, model, image: tuple[int, int], card: Mapping, weights: str):
    """A run of its own with the model; returns the logged model."""
    with tracking.run("export", card["name"], weights[:16], {"backbone": card["backbone"]}) as record:
        record.model(model, np.zeros((1, 3, *image), np.float32), card)
    experiment = client.get_experiment_by_name(deliver.reproductions())
    runs = (
        client.search_runs([experiment.experiment_id], f"tags.`cion.id` = '{record.about['id']}'") if experiment else []
    )
    if not runs:
        raise CionError(f"MLflow at {deliver.uri()} did not take the model; see above, then register it again")
    run = runs[0].info.run_id
    return client.search_logged_models([experiment.experiment_id], f"source_run_id = '{run}'")[0]


def _create(client: deliver.Client, logged, card: Mapping, weights: str) -> deliver.Version:
    try:
        client.create_registered_model(NAME, description="Person re-identification backbones; see each version's card")
    except deliver.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"cion.weights": weights, "cion.name": card["name"], "cion.backbone": card["backbone"]}
    return client.create_model_version(
        NAME, logged.artifact_location, run_id=logged.source_run_id, tags=tags, model_id=logged.model_id
    )


def _promote(
    client: deliver.Client, version: deliver.Version, benchmark: str, mean_ap: float, wrong: Sequence[str]
) -> str | None:
    """Move the alias if the gate lets it; else why not. The champion itself passes, so asking twice changes nothing."""
    tag = f"cion.mAP.{alias(benchmark)}"
    client.set_model_version_tag(NAME, version.version, tag, str(mean_ap))
    try:
        champion = client.get_model_version_by_alias(NAME, alias(benchmark))
    except deliver.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # MLflow says either
            raise
        champion = None
    if champion is not None and champion.version == version.version:
        return "; ".join(wrong) or None
    reason = gate(mean_ap, float(champion.tags[tag]) if champion else None, wrong)
    if reason is None:
        client.set_registered_model_alias(NAME, alias(benchmark), version.version)
    return reason
