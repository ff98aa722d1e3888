"""Every backbone behind one call."""

from __future__ import annotations

from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm

from cion_core.errors import CionError
from cion_core.zoo import names, resnet

_TIMM = {  # where timm's name of the architecture differs
    "ghostnet_0_5": "ghostnet_050",
    "ghostnet_1_0": "ghostnet_100",
    "ghostnet_1_3": "ghostnet_130",
}


def list_models() -> list[str]:
    """The 32 published backbones and the demo's; `create_model` also takes any model name of timm."""
    return [*names.ZOO, names.DEMO]


def create_model(name: str, img_size: tuple[int, int] = (256, 128)) -> nn.Module:
    """A backbone of random weights: float [B, 3, H, W], normalised -> float [B, model.num_features].

    `img_size` (height, width) is the size it is built for; half of it goes too (multi-crop). Weights
    come from torch's global generator, which callers seed.
    """
    try:
        names.check(name)
    except ValueError as error:
        raise CionError(f"backbone {name!r}: {error}") from None
    if name == names.DEMO:
        return resnet.resnet10_ibn()
    if name in names.STRUCTURES["ResNet"]:
        return resnet.set_last_stride(_timm(name))
    if name in names.STRUCTURES["ResNet-IBN"]:
        return resnet.add_ibn(resnet.set_last_stride(_timm(name.removesuffix("_ibn"))))
    return _timm(_TIMM.get(name, name), img_size)


def _timm(name: str, img_size: tuple[int, int] | None = None) -> nn.Module:
    model = timm.create_model(name, num_classes=0, **_size_arguments(name, img_size))
    model.num_features = model.head_hidden_size  # timm's num_features is the width before a head's own convolution
    return model


def _size_arguments(name: str, img_size: tuple[int, int] | None) -> dict:
    """timm's spelling of "built for this size, and others go too", which differs between transformers."""
    cfg = timm.get_pretrained_cfg(name)
    if img_size is None or cfg is None or not cfg.fixed_input_size:
        return {}
    return {"img_size": img_size, "dynamic_img_size": True}
