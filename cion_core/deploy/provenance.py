"""Where a model folder of this project comes from, as far as the files around it tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import yaml

from cion_core import work
from cion_core.tracking import context
from cion_core.zoo import Card

SETTINGS = {"pretrain": "frozen", "finetune": "finetuned"}  # a stage's folder, and what evaluate calls its models
CODE = ("cion_core/", "demo_world", "data/listing/parts/")  # of what a stage depends on, what is no data


def of(folder: Path, card: Card, licence: str = "") -> Card:
    """`card` with its name, licence, data, revision, run and metrics, of a folder such as data/pretrain/cion-resnet50.

    What the card says already stays. For a folder that no stage wrote, such as a copy, nothing is known but its name.
    The data are a hash of what dvc.lock says the stage read, the metrics those that the evaluate stage wrote,
    the run the last finished one of the stage in MLflow.
    """
    folder = Path(folder)
    known = {"name": folder.resolve().name, "licence": licence, **_stage(folder)}
    return replace(card, **{key: getattr(card, key) or value for key, value in known.items()})


def _stage(folder: Path) -> dict:
    if not (locked := _locked(folder)):
        return {}
    data = {dep["path"]: dep["md5"] for dep in locked["deps"] if not dep["path"].startswith(CODE)}
    revision = context.revision().get("cion.revision", "")
    from cion_core.tracking import registry  # mlflow takes a second to import

    run = registry.training_run(folder.parent.name, folder.name)
    return {"data": work.key(data), "revision": revision, "run": run, "metrics": _metrics(folder)}


def _locked(folder: Path) -> dict | None:
    """The stage of dvc.lock that writes `folder`."""
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
        path = folder.resolve().relative_to(Path.cwd()).as_posix()
    except (FileNotFoundError, ValueError):
        return None
    return next((stage for stage in stages.values() if any(out["path"] == path for out in stage.get("outs", ()))), None)


def _metrics(folder: Path) -> dict[str, dict[str, float]]:
    setting = SETTINGS.get(folder.parent.name)
    file = folder.parents[1] / "evaluate" / folder.name / "metrics.json"
    if setting is None or not file.is_file():
        return {}
    return {
        row["benchmark"]: {key: value for key, value in row.items() if isinstance(value, int | float)}
        for row in json.loads(file.read_text())
        if row["setting"] == setting
    }
