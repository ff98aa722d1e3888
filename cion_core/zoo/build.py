"""Every backbone behind one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm
from timm.layers import SqueezeExcite

from cion_core.errors import CionError
from cion_core.zoo import card as cards
from cion_core.zoo import fastreid, hub, names, osnet, resnet, store, transformers

Size = tuple[int, int]


def list_models() -> list[str]:
    """List the backbones that are built here; `create_model` also takes any model name of timm.

    Returns:
        The 32 published ones, the demo's, and those of torchreid and fast-reid that people bring
        checkpoints of.
    """
    return list(names.BACKBONES)


def create_model(name: str | Path, img_size: Size | None = None) -> nn.Module:
    """Make a backbone of random weights, or a published model with its own.

    Random weights come from torch's global generator, which callers seed.

    Args:
        name: of the zoo or of timm; `hf:ORG/NAME` for a model of the Hugging Face hub, or the path
            of a model folder, either of which comes in eval mode with its weights.
        img_size: (height, width) it is built for; half of it goes too (multi-crop). By default
            256x128, or what the card of a published model says.

    Returns:
        A module: float [B, 3, H, W], normalised -> float [B, model.num_features].

    Raises:
        CionError: there is no backbone of this name, or the hub cannot be reached.
    """
    name = str(name)
    if name.startswith(hub.PREFIX):
        return store.load(hub.model_folder(name.removeprefix(hub.PREFIX)), img_size)[0]
    if (Path(name) / cards.FILE).is_file():
        return store.load(name, img_size)[0]
    img_size = img_size or (256, 128)
    try:
        names.check(name)
    except ValueError as error:
        raise CionError(f"backbone {name!r}: {error}") from None
    if name == names.DEMO:
        return resnet.resnet10_ibn()
    construct = CONSTRUCTORS.get(names.structure_of(name), _timm)
    return construct(name, img_size)


def _timm(name: str, img_size: Size) -> nn.Module:
    """A backbone as timm has it."""
    config = timm.get_pretrained_cfg(name)
    fixed = config and config.fixed_input_size
    model = _resizable(name, img_size) if fixed else timm.create_model(name, num_classes=0)
    # timm's own `num_features` is the width before a convolution in the head
    model.num_features = model.head_hidden_size
    return model


def _resizable(name: str, img_size: Size) -> nn.Module:
    """One of timm's transformers that takes images of other sizes, too.

    Each spells "built for this size, and others go too" in its own way, or not at all.
    """
    for spelling in ({"dynamic_img_size": True}, {"strict_img_size": False}):
        try:
            return timm.create_model(name, num_classes=0, img_size=img_size, **spelling)
        except TypeError:  # an unknown keyword
            continue
    return timm.create_model(name, num_classes=0, img_size=img_size)


def _resnet(name: str, img_size: Size) -> nn.Module:
    return resnet.start_blocks_open(resnet.set_last_stride(_timm(name, img_size)))


def _resnet_ibn(name: str, img_size: Size) -> nn.Module:
    return resnet.add_ibn(_resnet(name.removesuffix("_ibn"), img_size))


def _ghostnet(name: str, img_size: Size) -> nn.Module:
    return _timm(name.replace("0_5", "050").replace("1_0", "100").replace("1_3", "130"), img_size)


def _osnet(name: str, _: Size) -> nn.Module:
    return osnet.osnet(name)


def _fastreid(name: str, _: Size) -> nn.Module:
    return fastreid.fastreid(name)


def _repvit(name: str, img_size: Size) -> nn.Module:
    """RepViT as published: it squeezes and excites as GhostNet does.

    Widths are multiples of 4, and the gate is a hard sigmoid.
    """
    model = _timm(name, img_size)
    for module in list(model.modules()):
        if isinstance(getattr(module, "se", None), SqueezeExcite):
            channels = module.se.fc1.in_channels
            module.se = SqueezeExcite(
                channels, rd_ratio=0.25, rd_divisor=4, gate_layer="hard_sigmoid"
            )
    return model


# How a structure differs from what timm makes of its name; a structure that is absent does not.
CONSTRUCTORS: dict[str | None, Callable[[str, Size], nn.Module]] = {
    "fast-reid": _fastreid,
    "GhostNet": _ghostnet,
    "OSNet": _osnet,
    "RepViT": _repvit,
    "ResNet": _resnet,
    "ResNet-IBN": _resnet_ibn,
    "VOLO": transformers.volo,
    "ViT": transformers.vit,
    "Swin": transformers.swin,
}
