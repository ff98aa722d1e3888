"""Where a model folder of this project comes from, as far as the files around it tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import yaml

from cion_core import work
from cion_core.tracking import context
from cion_core.zoo import Card
from cion_core.zoo.card import FROZEN

# The stage whose folders lie one deeper than others', below the run's.
FINETUNE = "finetune"
# How those dependencies of a stage begin that are code and no data.
CODE = ("cion_core/", "demo_world", "data/listing/parts/")


class Place(NamedTuple):
    """Where a model folder lies.

    Attributes:
        data: the project's folder data.
        stage: that wrote the folder.
        setting: what evaluation calls its models: frozen, or the run of fine-tuning.
    """

    data: Path
    stage: str
    setting: str


def complete_card(folder: Path, card: Card, licence: str = "") -> Card:
    """A card with where the model comes from: name, licence, data, revision, run and metrics.

    What the card says already stays. Of a folder that no stage wrote, such as a copy, nothing is
    known but its name.

    Args:
        folder: such as data/pretrain/cion-resnet50.
        card: its card.
        licence: of the weights.

    Returns:
        The card with `data`, a hash of what dvc.lock says the stage read; `metrics`, those that
        the evaluate stage wrote; `run`, the last finished one of the stage in MLflow.
    """
    folder = Path(folder)
    known = {"name": folder.resolve().name, "licence": licence, **_find_origin(folder)}
    missing = {key: value for key, value in known.items() if not getattr(card, key)}
    return replace(card, **missing)


def _find_origin(folder: Path) -> dict:
    """Data, revision, run and metrics of a folder that a stage wrote; else {}."""
    stage = _find_locked_stage(folder)
    if stage is None:
        return {}
    data_hashes = {}
    for dep in stage["deps"]:
        if not dep["path"].startswith(CODE):
            data_hashes[dep["path"]] = dep["md5"]

    # mlflow takes a second to import.
    from cion_core.tracking import model_registry

    place = _find_place(folder)
    name = folder.name
    run_name = name if place.setting == FROZEN else f"{name}-{place.setting}"
    return {
        "data": work.key(data_hashes),
        "revision": context.describe_revision().get("cion.revision", ""),
        "run": model_registry.find_training_run(place.stage, run_name),
        "metrics": _read_metrics(place, name),
    }


def _find_place(folder: Path) -> Place:
    """The place of data/pretrain/NAME, or of data/finetune/RUN/NAME."""
    above = folder.resolve().parent
    if above.parent.name == FINETUNE:
        return Place(above.parents[1], FINETUNE, above.name)
    return Place(above.parent, above.name, FROZEN)


def _find_locked_stage(folder: Path) -> dict | None:
    """The stage of dvc.lock that wrote a folder, if there is one."""
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
        path = folder.resolve().relative_to(Path.cwd()).as_posix()
    except (FileNotFoundError, ValueError):
        return None
    for stage in stages.values():
        outputs = [out["path"] for out in stage.get("outs", ())]
        if path in outputs:
            return stage
    return None


def _read_metrics(place: Place, name: str) -> dict[str, dict[str, float]]:
    """The scores of a model by benchmark, of those on which it was evaluated."""
    files = (place.data / "evaluate").glob(f"*/{place.setting}/{name}/metrics.json")
    metrics = {}
    for file in sorted(files):
        row = json.loads(file.read_text(encoding="utf-8"))
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        metrics[row["benchmark"]] = numbers
    return metrics
