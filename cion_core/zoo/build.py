"""Every backbone behind one call."""

from __future__ import annotations

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
    """The 32 published backbones, the demo's, and those of torchreid and fast-reid that people
    bring checkpoints of.

    `create_model` also takes any model name of timm.
    """
    return [*names.ZOO, names.DEMO, *names.OSNETS, *names.FASTREIDS]


def create_model(name: str, img_size: Size | None = None) -> nn.Module:
    """A backbone of random weights, or a published model with its own.

    Args:
        name: of the zoo or of timm; `hf:ORG/NAME` for a model of the Hugging Face hub, or the path
            of a model folder, either of which comes in eval mode with its weights.
        img_size: (height, width) it is built for; half of it goes too (multi-crop). By default
            256x128, or what the card of a published model says.

    Random weights come from torch's global generator, which callers seed.

    Returns:
        float [B, 3, H, W], normalised -> float [B, model.num_features].

    Raises:
        CionError: there is no backbone of this name, or the hub cannot be reached.
    """
    if name.startswith(hub.PREFIX):
        return store.load(hub.model_folder(name.removeprefix(hub.PREFIX)), img_size)[0]
    if (Path(name) / cards.FILE).is_file():
        return store.load(name, img_size)[0]
    img_size = img_size or (256, 128)
    try:
        names.check(name)
    except ValueError as error:
        raise CionError(f"backbone {name!r}: {error}") from None
    families = {**names.STRUCTURES, **names.BROUGHT}
    structure = next((key for key, members in families.items() if name in members), None)
    build = _demo if name == names.DEMO else _BUILDERS.get(structure, _timm)
    return build(name, img_size)


def _timm(name: str, img_size: Size) -> nn.Module:
    cfg = timm.get_pretrained_cfg(name)
    model = (
        _resizable(name, img_size)
        if cfg and cfg.fixed_input_size
        else timm.create_model(name, num_classes=0)
    )
    model.num_features = (
        model.head_hidden_size
    )  # timm's own is the width before a convolution in the head
    return model


def _resizable(name: str, img_size: Size) -> nn.Module:
    """timm's transformers each spell "built for this size, and others go too" in their own way, or
    not at all.
    """
    for spelling in ({"dynamic_img_size": True}, {"strict_img_size": False}):
        try:
            return timm.create_model(name, num_classes=0, img_size=img_size, **spelling)
        except TypeError:  # an unknown keyword
            continue
    return timm.create_model(name, num_classes=0, img_size=img_size)


def _demo(_: str, __: Size) -> nn.Module:
    return resnet.resnet10_ibn()


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
    """The published models squeeze and excite as GhostNet does: widths in multiples of 4, and a
    hard sigmoid.
    """
    model = _timm(name, img_size)
    for module in list(model.modules()):
        if isinstance(getattr(module, "se", None), SqueezeExcite):
            channels = module.se.fc1.in_channels
            module.se = SqueezeExcite(
                channels, rd_ratio=0.25, rd_divisor=4, gate_layer="hard_sigmoid"
            )
    return model


_BUILDERS = {
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
