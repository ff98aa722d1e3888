"""How the trainings went: losses over steps, and the schedules that pre-training followed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core.project import Params
from cion_core.report.comparison import list_models
from cion_core.training.schedules import phase_at

# Points of a curve; a longer history is averaged over bins.
CURVE_POINTS = 400
CURVE_COLUMNS = ["training", "model", "method", "backbone", "step", "loss"]
# Columns of a history that change over a run, and their titles.
SCHEDULED = {
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "momentum": "teacher's momentum",
    "K": "K",
}


def read_schedules(
    params: Params,
    root: Path,
    methods: dict[str, dict],
) -> dict[str, pd.DataFrame]:
    """What each method's pre-training was run with, on the first backbone.

    Args:
        params: all of params.yaml.
        root: the data folder.
        methods: as `comparison.describe_methods` gives them.

    Returns:
        By method: `step`, and the columns of SCHEDULED that there are. K, the crops of an identity
        in a batch, is known only where `pretrain.steps` is a number of steps.
    """
    schedules = {}
    for method in params.pretrain.methods:
        folder = root / "pretrain" / f"{method}-{params.pretrain.backbones[0]}"
        history = _read_history(folder)
        if history is None:
            continue
        if isinstance(params.pretrain.steps, int):
            phases = methods[method]["phases"]
            steps = len(history)
            history["K"] = [phase_at(phases, step, steps)[2] for step in range(steps)]
        columns = [name for name in SCHEDULED if name in history]
        schedules[method] = history[["step", *columns]]
    return schedules


def read_losses(params: Params, root: Path) -> pd.DataFrame:
    """The losses of all trainings in long form.

    Returns:
        The columns CURVE_COLUMNS. `training` is pretrain, or a run of `finetune.runs`; `model` is
        the method and the backbone.
    """
    folders = {"pretrain": root / "pretrain"}
    for run in params.finetune.runs:
        folders[run] = root / "finetune" / run

    curves = []
    for training, folder in folders.items():
        for method, backbone in list_models(params):
            history = _read_history(folder / f"{method}-{backbone}")
            if history is None:
                continue
            curve = _average_over_bins(history)
            curve["training"] = training
            curve["model"] = f"{method} {backbone}"
            curve["method"] = method
            curve["backbone"] = backbone
            curves.append(curve[CURVE_COLUMNS])
    if not curves:
        return pd.DataFrame(columns=CURVE_COLUMNS)
    return pd.concat(curves, ignore_index=True)


def _read_history(folder: Path) -> pd.DataFrame | None:
    """The history.csv of a training; None where there is none, for `random` is not pre-trained."""
    path = folder / "history.csv"
    if not path.exists():
        return None
    history = pd.read_csv(path)
    return None if history.empty else history


def _average_over_bins(history: pd.DataFrame) -> pd.DataFrame:
    """`step` and `loss`, as means over at most CURVE_POINTS bins of equal width."""
    points = min(CURVE_POINTS, len(history))
    bins = (history.index * points) // len(history)
    return history[["step", "loss"]].groupby(bins).mean().round(5)
