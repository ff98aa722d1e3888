"""The pretrain stage: crops and identities in, a model folder out."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import params, tables, tracking, work, zoo
from cion_core.crops import CropStore
from cion_core.errors import CionError
from cion_core.training import ranks, stop
from cion_core.pretrain.batches import MEAN, STD, Batches
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import COLUMNS, Loop, train
from cion_core.pretrain.methods import METHODS, Method, create, named
from cion_core.training.sampler import IdentitySampler
from cion_core.training.schedules import layout
from cion_core.pretrain.watch import Probe, diagnose, held_out, pairs
from cion_core.progress import bar, say

# What changes no weight, but by rounding
UNSHAPED = {
    "methods", "backbones", "device", "workers", "augment", "precision", "accumulate", "checkpointing", "compile",
    "checkpoint_every", "watch_every", *METHODS,
}  # fmt: skip


def run(p: params.Pretrain, method: str, backbone: str, root: Path = Path("data")) -> None:
    """Pre-train `backbone` with `method` into `root`/pretrain/METHOD-BACKBONE; goes on where a killed run stopped.

    Under torchrun each process takes its share of every batch, and the first one alone writes and records.

    Raises:
        Preempted: a SIGTERM has come; `resume.json` in the work folder says what to run again.
        CionError: an unknown method or backbone, no crops, an unreadable crop, a loss that is not finite, a batch
            that cannot be shared out.
    """
    name = f"{method}-{backbone}"
    stop.clear()
    with ranks.together(p.device) as device, torch.random.fork_rng():
        torch.manual_seed(p.seed)  # the backbone comes first, so all methods start from the same weights
        network = zoo.create_model(backbone, p.image)
        crops, inputs = read(root)
        unseen = crops.iloc[held_out(crops, p.held_out, p.seed)]
        seen = crops.drop(index=unseen.index)
        learner = create(method, p, network, seen[named(method).labels].nunique())
        shared(p, learner)
        tags = {"method": method, "backbone": backbone}
        settings = {**tags, **p.model_dump(exclude=UNSHAPED), "settings": learner.settings.model_dump()}
        key = work.key(settings, *inputs)
        checkpoints = Checkpoints(work.folder("pretrain", key))
        main = ranks.rank() == 0
        with tracking.run("pretrain", name, key, settings, tags) if main else nullcontext() as record:
            try:
                history = []
                if learner.trains:
                    history = _train(learner, seen, unseen, root, p, name, device, checkpoints, record)
            except stop.Preempted as error:
                if main:
                    about = {"stage": f"pretrain {method} {backbone}", "method": method, "backbone": backbone}
                    stop.leave(error.step, checkpoints.files()[-1], **about)
                ranks.wait()  # torchrun ends the others as soon as one has ended, and the first one is still writing
                raise
            if not main:
                return
            model = zoo.create_model(backbone, p.image).eval()  # as it was before it was compiled or synchronised
            model.load_state_dict(learner.exported.state_dict())
            extra = {"seed": p.seed, "steps": len(history), "batch": p.batch, **learner.settings.model_dump()}
            card = zoo.Card(backbone, method, p.image, MEAN, STD, model.num_features, extra)
            out = root / "pretrain" / name
            _write(out, model, card, pd.DataFrame(history, columns=None if history else COLUMNS))
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *p.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def shared(p: params.Pretrain, method: Method) -> None:
    """CionError unless every part of every process's share of a batch holds whole identities."""
    parts = ranks.size() * p.accumulate
    for _, instances in method.phases:
        if p.batch % (parts * instances):
            raise CionError(
                f"pretrain.batch {p.batch} cannot be shared out: {ranks.size()} processes x pretrain.accumulate "
                f"{p.accumulate} parts of whole identities of {instances} crops; a multiple of {parts * instances} can"
            )


def counts(
    method: str, crops: int | None = None, identities: int | None = None, root: Path = Path("data")
) -> np.ndarray:
    """How many crops each identity has that `method` goes by: those in `root`, or so many of each alike."""
    if crops:
        n = min(identities or crops, crops)
        return crops // n + (np.arange(n) < crops % n)
    return np.unique(read(root)[0][named(method).labels], return_counts=True)[1]


def read(root: Path) -> tuple[pd.DataFrame, list[Path]]:
    """The crops that every method sees, with their identities in columns crop, video, cross_video; the files read.

    They are those that the last level keeps, whichever identities a method goes by, so that methods differ in
    nothing else.
    """
    files = [root / "tracklets/crops.parquet"]
    crops = tables.read(tables.Crops, files[0])[["crop", "tracklet", "frame", "shard", "offset", "size"]]
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
    unseen: pd.DataFrame,
    root: Path,
    p: params.Pretrain,
    name: str,
    device: torch.device,
    checkpoints: Checkpoints,
    record: tracking.Journal | None,
) -> list[dict[str, float]]:
    """Train `method` on `crops`, watched by those `unseen`; its history. The first process shows and records it."""
    probe = _probe(unseen, root, p) if len(unseen) else None
    labels = crops[method.labels].to_numpy()
    phases, length = layout(method.phases, p.steps, np.unique(labels, return_counts=True)[1], p.batch)
    sampler = IdentitySampler(labels, p.batch, phases, length, p.seed)
    store = CropStore(root / "tracklets/crops", crops)
    late = p.augment == "device" or (p.augment == "auto" and device.type == "cuda")
    batches = Batches(store, sampler, method.recipes(), p.seed, ranks.rank(), ranks.size(), late)
    loop = Loop(p.checkpoint_every, p.workers, p.precision, p.accumulate, p.compile, p.checkpointing)
    steps = train(method, batches, length, device, checkpoints, loop, probe)
    if record is None:
        return list(steps)
    beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
    say(f"pre-training {name}: {len(crops)} crops of {len(np.unique(labels))} identities, on {device}{beside}")
    told: set[str] = set()
    progress, history, before, waited = bar(name, "step", length, items=steps), [], time.perf_counter(), 0.0
    for row in progress:
        history.append(row)
        now = time.perf_counter()
        speed = {
            "images_per_second": p.batch / (now - before),
            "data_wait_percent": 100 * (loop.waited - waited) / (now - before),
        }
        before, waited = now, loop.waited
        shown = {"images": f"{speed['images_per_second']:.0f}/s", "waiting": f"{speed['data_wait_percent']:.0f}%"}
        if device.type == "cuda":
            shown["memory"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB"
        progress.set_postfix(loss=f"{row['loss']:.3f}", **shown)
        watched = {key: value for key, value in row.items() if key != "step"}
        record.metrics({**watched, **speed}, step=row["step"])
        if "feature_rank" in row:
            for text in set(diagnose(history, p, length, method.chance)) - told:
                say(f"warning: {name} at step {row['step']}: {text}")
                told.add(text)
    return history


def _probe(crops: pd.DataFrame, root: Path, p: params.Pretrain) -> Probe:
    """What features are watched by: the first and the last crop of each tracklet of `crops`."""
    store = CropStore(root / "tracklets/crops", crops)
    images = [store.read(int(row)) for row in pairs(crops).T.ravel()]
    return Probe(zoo.to_tensor(images, (p.image, MEAN, STD)), p.watch_every)


def _write(folder: Path, model: torch.nn.Module, card: zoo.Card, history: pd.DataFrame) -> None:
    """Put the model folder in place at once: built beside its place, then renamed."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    for stale in (temporary, folder):
        shutil.rmtree(stale, ignore_errors=True)
    zoo.save(temporary, model, card)
    history.to_csv(temporary / "history.csv", index=False)
    temporary.rename(folder)
