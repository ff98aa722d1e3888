"""Models as people bring them, made into model folders.

They bring an ONNX file, a checkpoint, a name of timm, or one of the hub.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cion_core import work, zoo
from cion_core.embed.embedders import onnx as graphs
from cion_core.errors import CionError, refuse_special
from cion_core.progress import say
from cion_core.zoo import Card, checkpoints, hub, names, weights
from cion_core.zoo import card as cards
from cion_core.zoo.images import take_rgb

TALL = (384, 128)  # height, width of fast-reid's stronger recipes
USUAL = (256, 128)  # of everything else
RESIZE = {"fast-reid": "bicubic", "OSNet": "bilinear"}  # how those who trained them resize images
UNLIKE = ("ResNet-IBN", "RepViT", "ViT")  # structures of the zoo that timm's weights do not fit
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Overrides:
    """What a user says of a model in place of the usual, which None stands for.

    Attributes:
        architecture: a backbone's name, for checkpoints.
        mean: per RGB channel of images scaled to 0..1.
        std: as `mean`.
        size: (height, width) in pixels.
        bgr: whether the model takes blue first.
    """

    architecture: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    size: tuple[int, int] | None = None
    bgr: bool = False


def locate(model: Path | str) -> Path:
    """The model folder of whatever names a model.

    Args:
        model: a model folder, an ONNX file or a folder with one, a file of weights, `hf:ORG/NAME`,
            or a name of timm with weights at hand. What is no model folder yet becomes one in the
            work folder, and is found there again.

    Raises:
        CionError: nothing of this name, or it cannot be read; it says what is valid.
    """
    path = Path(model)
    if (path / cards.FILE).is_file():
        return path
    if path.is_dir():
        found = sorted(path.glob(f"*{graphs.SUFFIX}"))
        if len(found) != 1:
            return path  # whoever reads its card says what is missing
        path = found[0]
    if path.is_file():
        key = work.key({"path": str(path.resolve()), "made by": 1}, path)
        folder = work.folder("models", key) / path.name.partition(".")[0]
        if not (folder / cards.FILE).is_file():
            bring(path, folder, Overrides(), in_place=True)
        return folder
    if str(model).startswith(hub.PREFIX):
        return hub.model_folder(str(model).removeprefix(hub.PREFIX))
    if path.parent == Path() and is_backbone(path.name):
        folder = work.folder("models", work.key({"timm": path.name})) / path.name
        if not (folder / cards.FILE).is_file():
            bring(path.name, folder, Overrides())
        return folder
    refuse_special(path)
    raise CionError(
        f"{model}: no such model; valid: a model folder (models/stripes), an ONNX file, a file of "
        f"weights (.pth, .safetensors), {hub.PREFIX}ORG/NAME, or a name of timm whose weights are "
        "at hand"
    )


def is_backbone(name: str) -> bool:
    """Whether the zoo or timm has a backbone of this name.

    Args:
        name: anything.
    """
    try:
        names.check(name)
    except ValueError:
        return False
    return True


def bring(source: Path | str, folder: Path, asked: Overrides, in_place: bool = False) -> Path:
    """Make a model folder of what somebody has.

    Args:
        source: an ONNX file, a file of weights, a model folder, `hf:ORG/NAME`, or a name of timm.
        folder: the model folder to write, whole or not at all.
        asked: what the user says of its images.
        in_place: leave an ONNX file where it is, and note its path.

    Returns:
        `folder`.

    Raises:
        CionError: it cannot be read, or is of no architecture that is known.
    """
    path = Path(source)
    refuse_special(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if str(source).startswith(hub.PREFIX):
        path = hub.model_folder(str(source).removeprefix(hub.PREFIX))
    if (path / cards.FILE).is_file():
        if asked != Overrides():
            raise CionError(
                f"{source}: has a card, which says how its images are prepared; edit "
                f"{folder / cards.FILE}"
            )
        with work.replaced(folder) as temporary:
            shutil.copytree(path, temporary)
    elif path.suffix == graphs.SUFFIX:
        _bring_graph(path, folder, asked, in_place)
    elif path.is_file():
        _bring_checkpoint(path, folder, asked)
    elif is_backbone(str(source)):
        _bring_timms(str(source), folder, asked)
    else:
        what = "no such file, nor a name of timm"
        if path.is_dir():
            what = f"a folder that holds neither {cards.FILE} nor one {graphs.SUFFIX} file"
        raise CionError(f"{source}: {what}")
    return folder


def _bring_graph(path: Path, folder: Path, asked: Overrides, in_place: bool) -> None:
    """An ONNX file; one that `cion export` has written tells itself how images are prepared."""
    if asked.architecture:
        raise CionError(
            f"--architecture {asked.architecture}: {path} is a graph, and says itself how it is "
            "built"
        )
    session = graphs.session(path)
    inside = session.get_modelmeta().custom_metadata_map
    told = json.loads(inside.get("card", "{}"))
    if inside.get("fused") == "true":
        told |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    mean, std = graphs.IMAGENET
    shape = graphs.image_input(session, path).shape
    size = graphs.image_size(shape)
    if asked.size and size and asked.size != size:
        raise CionError(
            f"--size {asked.size}: {path} takes images of {size} (height, width) and no others"
        )
    card = {
        "embedder": "onnx",
        "image": asked.size or size or told.get("image") or USUAL,
        "mean": asked.mean or told.get("mean") or mean,
        "std": asked.std or told.get("std") or std,
        "bgr": asked.bgr,
        "resize": told.get("resize", ""),
        "file": str(path.resolve()) if in_place else "model.onnx",
        "licence": told.get("licence", ""),
    }
    with work.replaced(folder) as temporary:
        temporary.mkdir()
        if not in_place:
            _copy_graph(path, temporary)
        work.write_json(temporary / cards.FILE, card)


def _copy_graph(path: Path, folder: Path) -> None:
    """The graph as model.onnx, and the files beside it that large graphs keep their weights in."""
    shutil.copyfile(path, folder / "model.onnx")
    try:
        from onnx import external_data_helper, load
    except ImportError:
        # Without the library there is no telling. A graph that misses a file does not run, which
        # is said.
        return
    graph = load(path, load_external_data=False)
    tensors = external_data_helper._get_all_tensors(graph)
    beside = {
        entry.value
        for tensor in tensors
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(beside):
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise CionError(
                f"{path}: keeps weights in {name}, outside of its folder; export it as one file"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target)


def _bring_checkpoint(path: Path, folder: Path, asked: Overrides) -> None:
    """A file of weights, of the architecture that is named, or else recognised."""
    value = checkpoints.read(path)
    name = asked.architecture or recognise(value, path)
    size = asked.size or (TALL if name.startswith(("fastreid_sbs", "fastreid_mgn")) else USUAL)
    model = zoo.create_model(name, size)
    dropped = weights.load_weights(model, path)
    if dropped:
        tops = sorted({key.partition(".")[0] for key in dropped})
        say(f"{path}: {name}; left out, since a backbone has no use for it: {', '.join(tops)}")
    mean, std = graphs.IMAGENET
    card = Card(
        backbone=name,
        method="brought",
        image=size,
        mean=tuple(asked.mean or mean),
        std=tuple(asked.std or std),
        num_features=model.num_features,
        extra={"weights": {"source": path.name, "sha256": work.sha256(path)}},
        resize=RESIZE.get(names.structure_of(name), ""),
    )
    _save(folder, model, card, asked.bgr)


def _bring_timms(name: str, folder: Path, asked: Overrides) -> None:
    """Weights that timm takes for a name, from the hub's cache or the hub."""
    size = asked.size or USUAL
    model = zoo.create_model(name, size)
    told = getattr(model, "pretrained_cfg", None) or {}
    repository = told.get("hf_hub_id")
    if not repository or names.structure_of(name) in UNLIKE:
        raise CionError(
            f"{name}: timm has no weights of this structure; name a file of weights instead"
        )
    advice = f"bring it by `cion model add FILE --name NAME --architecture {name}`"
    weights.load_weights(model, hub.fetch(repository, advice))
    card = Card(
        backbone=name,
        method="brought",
        image=size,
        mean=tuple(asked.mean or told["mean"]),
        std=tuple(asked.std or told["std"]),
        num_features=model.num_features,
        extra={"weights": {"source": repository}},
    )
    _save(folder, model, card, asked.bgr)


def _save(folder: Path, model: nn.Module, card: Card, bgr: bool) -> None:
    """Write the model folder; a model that takes blue first becomes one that takes red first."""
    if bgr:
        take_rgb(model)
    with work.replaced(folder) as temporary:
        zoo.save(temporary, model, card)


def recognise(value: dict, path: Path) -> str:
    """Find the architecture of a checkpoint: the one of the zoo that it fits completely.

    Those that the file's name holds are tried first, the longest first.

    Args:
        value: what `checkpoints.read` gives.
        path: the file, for its name.

    Returns:
        The backbone's name.

    Raises:
        CionError: it fits none; it tells how near the best fit came.
    """
    plain = re.sub(r"[-. ]", "_", path.name.lower())
    named = sorted((name for name in names.BACKBONES if name in plain), key=len, reverse=True)
    # What people bring most is tried before the rest.
    brought = [name for members in names.BROUGHT.values() for name in members]
    nearest = ""
    most = -1.0
    for name in dict.fromkeys([*named, *brought, *names.ZOO, names.DEMO]):
        with torch.device("meta"):
            model = zoo.create_model(name)
        fit = weights.best_fit(model, value, where=str(path))
        if not fit.problems:
            return name
        share = fit.held / len(model.state_dict())
        if share > most:
            nearest, most = f"{name}, {weights.describe_problems(fit.problems)}", share
    raise CionError(
        f"{path}: fits no architecture that is known here; the nearest is {nearest}. "
        "Name one of timm's with --architecture, or export the model to ONNX"
    )
