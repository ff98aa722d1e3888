"""Exported models in MLflow's registry, and which of them is the champion of each benchmark.

There is one registered model. Each different set of weights is a version of it. The alias
`champion-BENCHMARK` names the version that is best there, and moves only through `check_gate`. A
version carries its card as the logged model's metadata. What the gate goes by stands in its tags,
so that the gate needs nothing but the registry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.tracking import server

# The registered model.
NAME = "cion"
# What MLflow answers where an alias is not set: the one or the other, by its version.
NO_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Registered:
    """What became of a model.

    Attributes:
        version: its version in the registry.
        champion_of: the benchmarks that it is now champion of.
        refused: {benchmark: why it is not that of others}.
    """

    version: str
    champion_of: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def find_refusal(mean_ap: float, champion_map: float | None, faults: Sequence[str]) -> str | None:
    """Why a model does not become a benchmark's champion, or None if it does.

    Args:
        mean_ap: its mAP there, in percent.
        champion_map: that of the present champion, None if there is none.
        faults: what the sanity check found.
    """
    if faults:
        return "; ".join(faults)
    # So written that an mAP that is no number does not pass.
    if champion_map is not None and not mean_ap > champion_map:
        return f"mAP {mean_ap:.2f} is not above the champion's {champion_map:.2f}"
    return None


def register(
    model,
    image_size: tuple[int, int],
    card: Mapping,
    weights: str,
    faults: Sequence[str],
) -> Registered:
    """Make a model a version, and let it through the gate of each benchmark.

    Args:
        model: torch.nn.Module in eval mode on the CPU, [B, 3, H, W] float32 to [B, D].
        image_size: height and width of its images.
        card: its card; `metrics` there are {benchmark: {"mAP": percent, ...}}.
        weights: a hash of its weights; weights that are registered already keep their version.
        faults: what the sanity check found.

    Raises:
        CionError: MLflow does not take it.
    """
    champion_of = []
    refused = {}
    try:
        client = server.connect()
        version = _find_version(client, weights)
        if version is None:
            logged = _log_model(client, model, image_size, card, weights)
            version = _create_version(client, logged, card, weights)
        for benchmark, metrics in card.get("metrics", {}).items():
            reason = _promote(client, version, benchmark, metrics["mAP"], faults)
            if reason is None:
                champion_of.append(benchmark)
            else:
                refused[benchmark] = reason
    except server.ERRORS as error:
        uri = server.tracking_uri()
        reason = str(error).splitlines()[0]
        raise CionError(f"MLflow at {uri} does not take the model: {reason}") from None
    return Registered(version.version, champion_of, refused)


def champion_alias(benchmark: str) -> str:
    """The alias of a benchmark's champion, in the letters that MLflow allows."""
    return f"champion-{re.sub(r'[^A-Za-z0-9_-]', '_', benchmark)}"


def find_training_run(stage: str, name: str) -> str:
    """MLflow's id of the last finished run of a stage.

    Args:
        stage: such as pretrain.
        name: of the stage's run, such as cion-resnet50.

    Returns:
        The id; "" if none is known, or MLflow is not reached.
    """
    # Nothing was ever tracked here, and asking would make a database.
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path("mlflow.db").exists():
        return ""
    stage_is = f"tags.`cion.stage` = '{stage}'"
    name_is = f"tags.`cion.name` = '{name}'"
    query = f"{stage_is} and {name_is} and attributes.status = 'FINISHED'"
    try:
        found = _search_newest(server.connect(), query)
    except server.ERRORS as error:
        uri = server.tracking_uri()
        reason = type(error).__name__
        say(f"MLflow at {uri} is not reached ({reason}); the card does not name the run")
        return ""
    return found.info.run_id if found else ""


def _search_newest(client: MlflowClient, query: str) -> Run | None:
    """The newest run that a query finds in the experiment of reproductions, if it finds any."""
    experiment = client.get_experiment_by_name(server.reproductions_name())
    if experiment is None:
        return None
    found = client.search_runs(
        [experiment.experiment_id],
        query,
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def _find_version(client: MlflowClient, weights: str) -> ModelVersion | None:
    """The version of these weights, if they are registered already."""
    query = f"name = '{NAME}' and tags.`cion.weights` = '{weights}'"
    found = client.search_model_versions(query)
    return found[0] if found else None


def _log_model(
    client: MlflowClient,
    model,
    image_size: tuple[int, int],
    card: Mapping,
    weights: str,
) -> LoggedModel:
    """Record a run of its own with the model, upload it, and find the logged model in MLflow."""
    example = np.zeros((1, 3, *image_size), np.float32)
    params = {"backbone": card["backbone"]}
    with tracking.run("export", card["name"], weights[:16], params) as record:
        record.model(model, example, card)
    run = _search_newest(client, f"tags.`cion.id` = '{record.about['id']}'")
    if run is None:
        uri = server.tracking_uri()
        advice = "see above, then register it again"
        raise CionError(f"MLflow at {uri} did not take the model; {advice}")
    query = f"source_run_id = '{run.info.run_id}'"
    return client.search_logged_models([run.info.experiment_id], query)[0]


def _create_version(
    client: MlflowClient,
    logged: LoggedModel,
    card: Mapping,
    weights: str,
) -> ModelVersion:
    """A new version of the registered model, which is made first where there is none."""
    description = "Person re-identification backbones; see each version's card"
    try:
        client.create_registered_model(NAME, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        "cion.weights": weights,
        "cion.name": card["name"],
        "cion.backbone": card["backbone"],
    }
    return client.create_model_version(
        NAME,
        logged.artifact_location,
        run_id=logged.source_run_id,
        tags=tags,
        model_id=logged.model_id,
    )


def _promote(
    client: MlflowClient,
    version: ModelVersion,
    benchmark: str,
    mean_ap: float,
    faults: Sequence[str],
) -> str | None:
    """Make a version the champion of a benchmark if the gate lets it; else return why not.

    The champion itself passes, so asking twice changes nothing.
    """
    alias = champion_alias(benchmark)
    score_tag = f"cion.mAP.{alias}"
    client.set_model_version_tag(NAME, version.version, score_tag, str(mean_ap))
    champion = _find_champion(client, alias)
    if champion is not None and champion.version == version.version:
        return "; ".join(faults) or None
    champion_map = float(champion.tags[score_tag]) if champion else None
    reason = find_refusal(mean_ap, champion_map, faults)
    if reason is None:
        client.set_registered_model_alias(NAME, alias, version.version)
    return reason


def _find_champion(client: MlflowClient, alias: str) -> ModelVersion | None:
    """The version that an alias names, None where it is not set."""
    try:
        return client.get_model_version_by_alias(NAME, alias)
    except MlflowException as error:
        if error.error_code not in NO_ALIAS:
            raise
        return None
