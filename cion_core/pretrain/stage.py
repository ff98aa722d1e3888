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
from cion_core.pretrain.labelled_crops import read_crops
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import Method, TeacherRates, Trained
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.sightings import sightings, warning
from cion_core.pretrain.view_batches import MEAN, STD, ViewBatches
from cion_core.pretrain.watch import FeatureProbe, diagnose, first_and_last, hold_out
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import check_shares
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.history import HistoryRow
from cion_core.training.placing import describe_runtime, own_generators, should_compile
from cion_core.training.run import Record, describe_cost, fit
from cion_core.training.sampler import IdentitySampler
from cion_core.training.schedules import lay_out
from cion_core.training.stop import resumable

# The columns of a history without a row.
COLUMNS = ("step", "loss", *(field.name for field in fields(TeacherRates)))
Phases = list[tuple[float, int]]  # (fraction of the steps from which on, K)


def run(
    p: Pretrain, method: str, backbone: str, runtime: Runtime = Runtime(), root: Path = Path("data")
) -> None:
    """Pre-train a backbone into root/pretrain/METHOD-BACKBONE; a killed run is resumed.

    The time that it took, over all its parts, is written into
    root/costs/pretrain/METHOD-BACKBONE.json. Under torchrun each process takes its share of every
    batch, and the first one alone writes and records.

    Args:
        p: the section `pretrain` of params.yaml.
        method, backbone: by name.
        runtime: of this machine.
        root: the folder `data`.

    Raises:
        Preempted: a SIGTERM has come; `resume.json` in the work folder says what to run again.
        CionError: an unknown method or backbone, no crops, an unreadable crop, a loss that is not
            finite, a batch that cannot be shared out, weights that a method brings and that are not
            to be had or do not fit.
    """
    method_class = METHODS.named(method)
    name = f"{method}-{backbone}"
    with ranks.together(runtime.device, runtime.backend) as device, own_generators(device):
        # 1. The learner. The backbone comes first, so all methods start from the same weights.
        torch.manual_seed(p.seed)
        network = zoo.create_model(backbone, p.image)
        confidence = p.min_confidence if method_class.labels == "cross_video" else None
        crops, inputs = read_crops(root, confidence)
        unseen = crops.iloc[hold_out(crops, p.held_out, p.seed)]
        seen = crops.drop(index=unseen.index)
        learner = method_class(p, network, seen[method_class.labels].nunique())
        external = learner.load_external(backbone)
        for _, instances in learner.phases:
            check_shares("pretrain.batch", p.batch, instances, runtime.accumulate)

        # 2. What tells this run from others, and so names the folder of its checkpoints.
        tags = {"method": method, "backbone": backbone}
        own = learner.settings.model_dump()
        chosen = ("methods", "backbones")  # which make no difference to one run
        common = {key: value for key, value in p.own().items() if key not in chosen}
        settings = {**tags, **common, "min_confidence": confidence, "settings": own, **external}
        key = work.key(settings, *inputs)
        ranks.check_equal("the crops, identities and settings", key)
        checkpoints = Checkpoints(work.folder("pretrain", key))

        # 3. The training, which the first process records.
        main = ranks.rank() == 0
        recording = tracking.run("pretrain", name, key, settings, tags) if main else nullcontext()
        with recording as record:
            phases, history, seconds = learner.phases, [], 0.0
            counted = {}
            with resumable(checkpoints, f"pretrain {method} {backbone}", **tags):
                if isinstance(learner, Trained):
                    counted = _count_crops(learner, seen)
                    phases, history, seconds = _train(
                        learner, seen, unseen, root, p, name, device, checkpoints, runtime, record
                    )
            if not main:
                return

            # 4. The model folder. The model is a fresh one, not compiled and not synchronised.
            model = zoo.create_model(backbone, p.image).eval()
            model.load_state_dict(learner.kept_network.state_dict())
            extra = {"seed": p.seed, "steps": len(history), "batch": p.batch, **counted, **own}
            extra["runtime"] = describe_runtime(runtime, device)
            extra |= external
            if confidence is not None:
                extra["min_confidence"] = confidence
            card = zoo.Card(
                backbone, method, p.image, learner.mean, learner.std, model.num_features, extra
            )
            out = root / "pretrain" / name
            table = pd.DataFrame(history, columns=None if history else COLUMNS)
            with work.replaced(out) as folder:
                zoo.save(folder, model, card)
                table.to_csv(folder / "history.csv", index=False)
                work.write_json(folder / "method.json", about(method_class, phases))
            work.write_json(
                root / "costs/pretrain" / f"{name}.json", describe_cost(seconds, device)
            )
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *p.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def about(method: type[Method], phases: Phases) -> dict:
    """What a report says of a method, as `method.json` holds it; reading it needs no method's code.

    Returns:
        name, about, style ({colour, dash}, or None), phases ([[fraction of the steps from which
        on, K]]), labels (crop, or the level whose identities it goes by).
    """
    style = method.style and asdict(method.style)
    return {
        "name": method.name,
        "about": method.about,
        "style": style,
        "phases": phases,
        "labels": method.labels,
    }


def counts(
    method: str,
    crops: int | None = None,
    identities: int | None = None,
    confidence: float | None = None,
    root: Path = Path("data"),
) -> np.ndarray:
    """The crops of each of a method's identities, counted.

    Args:
        method: by name.
        crops: made up: so many crops, shared out evenly; None: those in `root`.
        identities: made up: so many of them; None: one for each crop.
        confidence: of the links across videos; None: all of them.
        root: the folder `data`.

    Returns:
        int [identities].
    """
    level = METHODS.named(method).labels
    if crops:
        count = min(identities or crops, crops)
        return crops // count + (np.arange(count) < crops % count)
    confidence = confidence if level == tables.LEVELS[-1] else None
    kept, _ = read_crops(root, confidence)
    return np.unique(kept[level], return_counts=True)[1]


def _count_crops(learner: Trained, crops: pd.DataFrame) -> dict[str, int]:
    """What the card tells of the crops: how many there are, and of how many identities, if any."""
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
) -> tuple[Phases, list[HistoryRow], float]:
    """Train on `crops`, watched by those `unseen`.

    Returns:
        The phases as fractions of the steps, the history, and the seconds that it took.
    """
    labels = crops[learner.labels].to_numpy()
    sizes = np.unique(labels, return_counts=True)[1]
    phases, steps = lay_out(learner.phases, p.steps, sizes, p.batch)
    sampler = IdentitySampler(labels, p.batch, phases, steps, p.seed)
    store = CropStore(root / "tracklets/crops", crops)
    on_device = device.type == "cuda" if runtime.augment == "auto" else runtime.augment == "device"
    batches = ViewBatches(
        store,
        sampler,
        learner.view_kinds(),
        p.seed,
        ranks.rank(),
        ranks.size(),
        on_device,
        should_compile(runtime, device),
    )
    if record is not None:
        beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
        say(
            f"pre-training {name}: {len(crops)} crops of {len(sizes)} identities, on "
            f"{device}{beside}"
        )
        if learner.labels == "cross_video":
            rarely_seen = warning(sightings(labels, crops.tracklet, crops.source))
            if rarely_seen:
                say(f"warning: {rarely_seen}")
    probe = _make_probe(unseen, root, p, runtime) if len(unseen) else None
    signs = partial(diagnose, p=p, steps=steps, chance=learner.chance)
    return phases, *fit(
        name, learner, batches, steps, device, checkpoints, runtime, record, probe, signs
    )


def _make_probe(crops: pd.DataFrame, root: Path, p: Pretrain, runtime: Runtime) -> FeatureProbe:
    """What features are watched by: the first and the last crop of each tracklet of `crops`."""
    store = CropStore(root / "tracklets/crops", crops)
    rows = first_and_last(crops).T.ravel()
    images = [store.read(int(row)) for row in rows]
    return FeatureProbe(zoo.to_tensor(images, (p.image, MEAN, STD)), runtime.watch_every)
