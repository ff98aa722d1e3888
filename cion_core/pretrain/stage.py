"""The pretrain stage: crops and identities in, a model folder out, and beside it what it cost."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import tables, tracking, work, zoo
from cion_core.crops import CropStore
from cion_core.denoise.linking.confidence import read_cut
from cion_core.errors import CionError
from cion_core.pretrain.batches import MEAN, STD, Batches
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import Method, TeacherRates, Trained
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.sightings import sightings, warning
from cion_core.pretrain.watch import Probe, diagnose, held_out, pairs
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import shared
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.placing import compiles, own_generators, used
from cion_core.training.run import Record, Row, fit, spent
from cion_core.training.sampler import IdentitySampler
from cion_core.training.schedules import layout
from cion_core.training.stop import resumable

COLUMNS = (
    "step",
    "loss",
    *(field.name for field in fields(TeacherRates)),
)  # of a history without a row
Phases = list[tuple[float, int]]  # (fraction of the steps from which on, K)


def run(
    p: Pretrain, method: str, backbone: str, runtime: Runtime = Runtime(), root: Path = Path("data")
) -> None:
    """Pre-train `backbone` with `method` into `root`/pretrain/METHOD-BACKBONE; goes on where a
    killed run stopped.

    The time that it took, over all its parts, is written into
    `root`/costs/pretrain/METHOD-BACKBONE.json. Under torchrun each process takes its share of every
    batch, and the first one alone writes and records.

    Raises:
        Preempted: a SIGTERM has come; `resume.json` in the work folder says what to run again.
        CionError: an unknown method or backbone, no crops, an unreadable crop, a loss that is not
            finite, a batch that cannot be shared out, weights that a method brings and that are not
            to be had or do not fit.
    """
    part, name = METHODS.named(method), f"{method}-{backbone}"
    with ranks.together(runtime.device, runtime.backend) as device, own_generators(device):
        torch.manual_seed(
            p.seed
        )  # the backbone comes first, so all methods start from the same weights
        network = zoo.create_model(backbone, p.image)
        confidence = p.min_confidence if part.labels == "cross_video" else None
        crops, inputs = read(root, confidence)
        unseen = crops.iloc[held_out(crops, p.held_out, p.seed)]
        seen = crops.drop(index=unseen.index)
        learner = part(p, network, seen[part.labels].nunique())
        brought = learner.bring(backbone)
        for _, instances in learner.phases:
            shared("pretrain.batch", p.batch, instances, runtime.accumulate)
        tags, own = {"method": method, "backbone": backbone}, learner.settings.model_dump()
        shaping = {
            key: value for key, value in p.own().items() if key not in ("methods", "backbones")
        }
        settings = {**tags, **shaping, "min_confidence": confidence, "settings": own, **brought}
        key = work.key(settings, *inputs)
        ranks.agree("the crops, identities and settings", key)
        checkpoints = Checkpoints(work.folder("pretrain", key))
        main = ranks.rank() == 0
        with (
            tracking.run("pretrain", name, key, settings, tags) if main else nullcontext() as record
        ):
            phases, history, seconds, saw = learner.phases, [], 0.0, {}
            with resumable(checkpoints, f"pretrain {method} {backbone}", **tags):
                if isinstance(learner, Trained):
                    saw = _saw(learner, seen)
                    phases, history, seconds = _train(
                        learner, seen, unseen, root, p, name, device, checkpoints, runtime, record
                    )
            if not main:
                return
            model = zoo.create_model(
                backbone, p.image
            ).eval()  # as it was before it was compiled or synchronised
            model.load_state_dict(learner.exported.state_dict())
            extra = {"seed": p.seed, "steps": len(history), "batch": p.batch, **saw, **own}
            extra["runtime"] = used(runtime, device)
            extra |= brought if confidence is None else {**brought, "min_confidence": confidence}
            card = zoo.Card(
                backbone, method, p.image, learner.mean, learner.std, model.num_features, extra
            )
            out = root / "pretrain" / name
            with work.replaced(out) as folder:
                zoo.save(folder, model, card)
                pd.DataFrame(history, columns=None if history else COLUMNS).to_csv(
                    folder / "history.csv", index=False
                )
                work.write_json(folder / "method.json", about(part, phases))
            work.write_json(root / "costs/pretrain" / f"{name}.json", spent(seconds, device))
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *p.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def about(part: type[Method], phases: Phases) -> dict:
    """What a report says of a method, as `method.json` holds it, so that reading it needs no
    method's code.

    name, about, style ({colour, dash}, or None), phases ([[fraction of the steps from which on,
    K]]), labels (crop, or the level whose identities it goes by).
    """
    style = part.style and asdict(part.style)
    return {
        "name": part.name,
        "about": part.about,
        "style": style,
        "phases": phases,
        "labels": part.labels,
    }


def counts(
    method: str,
    crops: int | None = None,
    identities: int | None = None,
    confidence: float | None = None,
    root: Path = Path("data"),
) -> np.ndarray:
    """How many crops each identity has that `method` goes by: those in `root`, or so many of each
    alike.
    """
    part = METHODS.named(method)
    if crops:
        n = min(identities or crops, crops)
        return crops // n + (np.arange(n) < crops % n)
    confidence = confidence if part.labels == tables.LEVELS[-1] else None
    return np.unique(read(root, confidence)[0][part.labels], return_counts=True)[1]


def read(root: Path, confidence: float | None = None) -> tuple[pd.DataFrame, list[Path]]:
    """The crops that every method sees, with their identities in columns crop, video, cross_video;
    the files read.

    They are those that the last level keeps, whichever identities a method goes by, so that methods
    differ in nothing else. `source` is the video that a crop was cut from. confidence: that of the
    links across videos; None: all of them.
    """
    files = [root / "tracklets/crops.parquet"]
    crops = tables.read(tables.Crops, files[0]).rename(columns={"video": "source"})
    crops = crops[["crop", "source", "tracklet", "frame", "shard", "offset", "size"]]
    for level in ("cross_video", "video"):
        files.append(root / "denoise" / level / "identities.parquet")
        identities = tables.read(tables.Identities, files[-1]).rename(columns={"identity": level})
        kept = len(identities) if level == "cross_video" else len(crops)
        crops = crops.merge(identities, on="crop")
        if len(crops) < kept:
            other = files[0] if level == "cross_video" else files[2]
            raise CionError(
                f"{files[1]}: {kept - len(crops)} of its crops are not in {other}; `dvc repro` both"
            )
    if crops.empty:
        raise CionError(
            f"{files[1]}: no crop to train on; see denoise.radius and denoise.min_crops"
        )
    if confidence is not None:
        files.append(root / "denoise/cross_video/links.npz")
        done, before = (
            read_cut(files[-1], crops.video.to_numpy(), confidence),
            crops.cross_video.nunique(),
        )
        crops = crops.assign(cross_video=done.labels)
        if ranks.rank() == 0:
            say(
                f"pre-training on links that are right with a probability of {confidence:g} and "
                f"more: {done.cut} of {done.links} are cut, {before} identities are "
                f"{crops.cross_video.nunique()} now"
            )
    return crops, files


def _saw(learner: Trained, crops: pd.DataFrame) -> dict[str, int]:
    """What the card tells of the crops: how many images, and, of a method that goes by identities,
    how many of them.
    """
    if learner.labels == "crop":
        return {"images": len(crops)}
    return {"images": len(crops), "identities": int(crops[learner.labels].nunique())}


def _train(
    learner: Trained,
    crops: pd.DataFrame,
    unseen: pd.DataFrame,
    root: Path,
    p: Pretrain,
    name: str,
    device: torch.device,
    checkpoints: Checkpoints,
    runtime: Runtime,
    record: Record | None,
) -> tuple[Phases, list[Row], float]:
    """Train on `crops`, watched by those `unseen`; the phases as they were laid out, the history,
    and the seconds.
    """
    labels = crops[learner.labels].to_numpy()
    sizes = np.unique(labels, return_counts=True)[1]
    phases, steps = layout(learner.phases, p.steps, sizes, p.batch)
    sampler = IdentitySampler(labels, p.batch, phases, steps, p.seed)
    store = CropStore(root / "tracklets/crops", crops)
    late = runtime.augment == "device" or (runtime.augment == "auto" and device.type == "cuda")
    batches = Batches(
        store,
        sampler,
        learner.recipes(),
        p.seed,
        ranks.rank(),
        ranks.size(),
        late,
        compiles(runtime, device),
    )
    if record is not None:
        beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
        say(
            f"pre-training {name}: {len(crops)} crops of {len(sizes)} identities, on "
            f"{device}{beside}"
        )
        if learner.labels == "cross_video" and (
            told := warning(sightings(labels, crops.tracklet, crops.source))
        ):
            say(f"warning: {told}")
    probe = _probe(unseen, root, p, runtime) if len(unseen) else None
    signs = partial(diagnose, p=p, steps=steps, chance=learner.chance)
    return phases, *fit(
        name, learner, batches, steps, device, checkpoints, runtime, record, probe, signs
    )


def _probe(crops: pd.DataFrame, root: Path, p: Pretrain, runtime: Runtime) -> Probe:
    """What features are watched by: the first and the last crop of each tracklet of `crops`."""
    store = CropStore(root / "tracklets/crops", crops)
    images = [store.read(int(row)) for row in pairs(crops).T.ravel()]
    return Probe(zoo.to_tensor(images, (p.image, MEAN, STD)), runtime.watch_every)
