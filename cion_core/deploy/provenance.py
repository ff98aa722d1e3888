"""Where a model folder of this project comes from, as far as the files around it tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import yaml

from cion_core import work
from cion_core.tracking import context
from cion_core.zoo import Card
from cion_core.zoo.card import FROZEN

STAGE = "finetune"  # whose folders lie one deeper, below the run's
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

    root, stage, state = _place(folder)
    name = folder.name if state == FROZEN else f"{folder.name}-{state}"
    run = registry.training_run(stage, name)
    return {"data": work.key(data), "revision": revision, "run": run, "metrics": _metrics(root, state, folder.name)}


def _place(folder: Path) -> tuple[Path, str, str]:
    """Of data/pretrain/NAME, or data/finetune/RUN/NAME: data, the stage, and what evaluation calls its models."""
    above = folder.resolve().parent
    if above.parent.name == STAGE:
        return above.parents[1], STAGE, above.name
    return above.parent, above.name, FROZEN


def _locked(folder: Path) -> dict | None:
    """The stage of dvc.lock that writes `folder`."""
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
        path = folder.resolve().relative_to(Path.cwd()).as_posix()
    except (FileNotFoundError, ValueError):
        return None
    return next((stage for stage in stages.values() if any(out["path"] == path for out in stage.get("outs", ()))), None)


def _metrics(root: Path, state: str, name: str) -> dict[str, dict[str, float]]:
    """The scores of a model by benchmark, of those on which it was evaluated."""
    rows = [json.loads(file.read_text()) for file in sorted((root / "evaluate").glob(f"*/{state}/{name}/metrics.json"))]
    return {
        row["benchmark"]: {key: value for key, value in row.items() if isinstance(value, int | float)} for row in rows
    }
