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
from cion_core.denoise.linking.confidence import read_at
from cion_core.errors import CionError
from cion_core.pretrain.batches import MEAN, STD, Batches
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import Method, TeacherRates, Trained
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.sightings import sightings, warning
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
    part = METHODS.named(method)
    name = f"{method}-{backbone}"
    with ranks.together(runtime.device, runtime.backend) as device, own_generators(device):
        # 1. The learner. The backbone comes first, so all methods start from the same weights.
        torch.manual_seed(p.seed)
        network = zoo.create_model(backbone, p.image)
        confidence = p.min_confidence if part.labels == "cross_video" else None
        crops, inputs = read(root, confidence)
        unseen = crops.iloc[hold_out(crops, p.held_out, p.seed)]
        seen = crops.drop(index=unseen.index)
        learner = part(p, network, seen[part.labels].nunique())
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
            phases, history, seconds, images = learner.phases, [], 0.0, {}
            with resumable(checkpoints, f"pretrain {method} {backbone}", **tags):
                if isinstance(learner, Trained):
                    images = _count_images(learner, seen)
                    phases, history, seconds = _train(
                        learner, seen, unseen, root, p, name, device, checkpoints, runtime, record
                    )
            if not main:
                return

            # 4. The model folder. The model is a fresh one, not compiled and not synchronised.
            model = zoo.create_model(backbone, p.image).eval()
            model.load_state_dict(learner.exported.state_dict())
            extra = {"seed": p.seed, "steps": len(history), "batch": p.batch, **images, **own}
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
                work.write_json(folder / "method.json", about(part, phases))
            work.write_json(
                root / "costs/pretrain" / f"{name}.json", describe_cost(seconds, device)
            )
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *p.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def about(part: type[Method], phases: Phases) -> dict:
    """What a report says of a method, as `method.json` holds it; reading it needs no method's code.

    Returns:
        name, about, style ({colour, dash}, or None), phases ([[fraction of the steps from which
        on, K]]), labels (crop, or the level whose identities it goes by).
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
    """How many crops each identity has that a method goes by.

    Args:
        method: by name.
        crops: made up: so many crops, shared out evenly; None: those in `root`.
        identities: made up: so many of them; None: one for each crop.
        confidence: of the links across videos; None: all of them.
        root: the folder `data`.

    Returns:
        int [identities].
    """
    part = METHODS.named(method)
    if crops:
        count = min(identities or crops, crops)
        return crops // count + (np.arange(count) < crops % count)
    confidence = confidence if part.labels == tables.LEVELS[-1] else None
    kept, _ = read(root, confidence)
    return np.unique(kept[part.labels], return_counts=True)[1]


def read(root: Path, confidence: float | None = None) -> tuple[pd.DataFrame, list[Path]]:
    """The crops that every method sees, and their identities at each level.

    They are those that the last level keeps, whichever identities a method goes by, so that methods
    differ in nothing else.

    Args:
        root: the folder `data`.
        confidence: of the links across videos; None: all of them.

    Returns:
        The crops, with their identities in the columns crop, video and cross_video, and in `source`
        the video that each was cut from; and the files that were read.

    Raises:
        CionError: there is no crop, or the levels are of different crops.
    """
    crops_file = root / "tracklets/crops.parquet"
    linked_file, video_file = (
        root / "denoise" / level / "identities.parquet" for level in ("cross_video", "video")
    )
    files = [crops_file, linked_file, video_file]
    crops = tables.read(tables.Crops, crops_file).rename(columns={"video": "source"})
    crops = crops[["crop", "source", "tracklet", "frame", "shard", "offset", "size"]]

    linked = _read_identities(linked_file, "cross_video")
    crops = crops.merge(linked, on="crop")
    _check_kept(len(linked), len(crops), linked_file, crops_file)
    crops_of_videos = crops.merge(_read_identities(video_file, "video"), on="crop")
    _check_kept(len(crops), len(crops_of_videos), linked_file, video_file)
    crops = crops_of_videos
    if crops.empty:
        raise CionError(
            f"{linked_file}: no crop to train on; see denoise.radius and denoise.min_crops"
        )
    if confidence is not None:
        files.append(root / "denoise/cross_video/links.npz")
        crops = _cut_links(crops, files[-1], confidence)
    return crops, files


def _read_identities(path: Path, level: str) -> pd.DataFrame:
    return tables.read(tables.Identities, path).rename(columns={"identity": level})


def _check_kept(wanted: int, found: int, path: Path, other: Path) -> None:
    if found < wanted:
        raise CionError(
            f"{path}: {wanted - found} of its crops are not in {other}; `dvc repro` both"
        )


def _cut_links(crops: pd.DataFrame, path: Path, confidence: float) -> pd.DataFrame:
    """The crops with links across videos cut that are right with a lower probability."""
    before = crops.cross_video.nunique()
    result = read_at(path, crops.video.to_numpy(), confidence)
    crops = crops.assign(cross_video=result.labels)
    if ranks.rank() == 0:
        say(
            f"pre-training on links that are right with a probability of {confidence:g} and "
            f"more: {result.dropped} of {result.links} are cut, {before} identities are "
            f"{crops.cross_video.nunique()} now"
        )
    return crops


def _count_images(learner: Trained, crops: pd.DataFrame) -> dict[str, int]:
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
    batches = Batches(
        store,
        sampler,
        learner.recipes(),
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
