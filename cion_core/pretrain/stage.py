"""The pretrain stage: crops and identities in, a model folder out."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import params, tables, tracking, work, zoo
from cion_core.crops import CropStore
from cion_core.errors import CionError
from cion_core.pretrain.batches import MEAN, STD, Batches
from cion_core.pretrain.checkpoint import Checkpoints
from cion_core.pretrain.engine import COLUMNS, train
from cion_core.pretrain.methods import METHODS, Method, create
from cion_core.pretrain.sampler import IdentitySampler
from cion_core.progress import bar, say
from cion_core.zoo.device import pick

UNSHAPED = {"methods", "backbones", "device", "workers", "checkpoint_every", *METHODS}  # change no weight


def run(p: params.Pretrain, method: str, backbone: str, root: Path = Path("data")) -> None:
    """Pre-train `backbone` with `method` into `root`/pretrain/METHOD-BACKBONE; goes on where a killed run stopped.

    Raises:
        CionError: an unknown method or backbone, no crops, an unreadable crop, a loss that is not finite.
    """
    name = f"{method}-{backbone}"
    with torch.random.fork_rng():
        torch.manual_seed(p.seed)  # the backbone comes first, so all methods start from the same weights
        learner = create(method, p, zoo.create_model(backbone, p.image))
        crops, inputs = read(root)
        tags = {"method": method, "backbone": backbone}
        settings = {**tags, **p.model_dump(exclude=UNSHAPED), "settings": learner.settings.model_dump()}
        key = work.key(settings, *inputs)
        checkpoints = Checkpoints(work.folder("pretrain", key))
        with tracking.run("pretrain", name, key, settings, tags) as record:
            history = _train(learner, crops, root, p, name, checkpoints, record) if learner.trains else []
            model = learner.exported.cpu().eval()
            extra = {"seed": p.seed, "steps": len(history), "batch": p.batch, **learner.settings.model_dump()}
            card = zoo.Card(backbone, method, p.image, MEAN, STD, model.num_features, extra)
            out = root / "pretrain" / name
            _write(out, model, card, pd.DataFrame(history, columns=None if history else COLUMNS))
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *p.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def read(root: Path) -> tuple[pd.DataFrame, list[Path]]:
    """The crops that every method sees, with their identities in columns crop, video, cross_video; the files read.

    They are those that the last level keeps, whichever identities a method goes by, so that methods differ in
    nothing else.
    """
    files = [root / "tracklets/crops.parquet"]
    crops = tables.read(tables.Crops, files[0])[["crop", "shard", "offset", "size"]]
    for level in ("cross_video", "video"):
        files.append(root / "denoise" / level / "identities.parquet")
        identities = tables.read(tables.Identities, files[-1]).rename(columns={"identity": level})
        kept = len(identities) if level == "cross_video" else len(crops)
        crops = crops.merge(identities, on="crop")
        if len(crops) < kept:
            other = files[0] if level == "cross_video" else files[2]
            raise CionError(f"{files[1]}: {kept - len(crops)} of its crops are not in {other}; `dvc repro` both")
    if crops.empty:
        raise CionError(f"{files[1]}: no crop to train on; see denoise.radius and denoise.min_crops")
    return crops, files


def _train(
    method: Method,
    crops: pd.DataFrame,
    root: Path,
    p: params.Pretrain,
    name: str,
    checkpoints: Checkpoints,
    record,
) -> list[dict[str, float]]:
    """Train `method` under a progress bar; its history."""
    labels = crops[method.labels].to_numpy()
    device = pick(p.device)
    say(f"pre-training {name}: {len(crops)} crops of {len(np.unique(labels))} identities, on {device}")
    sampler = IdentitySampler(labels, p.batch, method.phases, p.steps, p.seed)
    batches = Batches(CropStore(root / "tracklets/crops", crops), sampler, method.recipes(), p.seed)
    steps = train(method, batches, p.steps, device, checkpoints, p.checkpoint_every, p.workers)
    progress, history, before = bar(name, "step", p.steps, items=steps), [], time.perf_counter()
    for row in progress:
        history.append(row)
        now = time.perf_counter()
        speed, before = p.batch / (now - before), now
        progress.set_postfix(loss=f"{row['loss']:.3f}", images=f"{speed:.0f}/s")
        watched = {key: value for key, value in row.items() if key != "step"}
        record.metrics({**watched, "images_per_second": speed}, step=row["step"])
    return history


def _write(folder: Path, model: torch.nn.Module, card: zoo.Card, history: pd.DataFrame) -> None:
    """Put the model folder in place at once: built beside its place, then renamed."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    for stale in (temporary, folder):
        shutil.rmtree(stale, ignore_errors=True)
    zoo.save(temporary, model, card)
    history.to_csv(temporary / "history.csv", index=False)
    temporary.rename(folder)
