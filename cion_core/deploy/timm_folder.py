"""A model as a folder that timm alone loads, for backbones that are the same in timm."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm

from cion_core import work
from cion_core.deploy.graphs import Features, run_module
from cion_core.errors import CionError
from cion_core.zoo import Card, names
from cion_core.zoo import card as cards

# Structures of the zoo that timm does not have as they are here, and why.
NOT_IN_TIMM = {
    "ResNet": "its last stride is 1 without dilation, which timm's ResNet cannot be told",
    "ResNet-IBN": "timm has no IBN, and its ResNet cannot be told the last stride 1",
    "RepViT": "its squeeze-and-excite has other widths and another gate than timm's RepViT",
    "ViT": "timm's ViT has no convolutional stem with IBN",
    "demo": "timm has no IBN",
}
OTHER_FORMATS = "valid: onnx, torchscript, safetensors"


def write_timm(model: nn.Module, card: Card, out: Path) -> None:
    """Write a folder that `timm.create_model("local-dir:FOLDER")` loads.

    Args:
        model: in eval mode, on the CPU.
        card: its card, which is written beside.
        out: the folder.

    Raises:
        CionError: timm has no such model.
    """
    structure = _find_structure(card.backbone)
    if structure in NOT_IN_TIMM:
        reason = NOT_IN_TIMM[structure]
        raise CionError(f"timm has no {card.backbone}: {reason}; {OTHER_FORMATS}")
    if card.built_by:
        raise CionError(f"timm has no {card.built_by}, only backbones; {OTHER_FORMATS}")

    model_args = {}
    if model.pretrained_cfg.get("fixed_input_size"):
        model_args["img_size"] = list(card.image)
    if structure == "Swin":
        # As zoo builds it, which differs from timm's own.
        model_args |= {"window_size": 8, "always_partition": True, "strict_img_size": False}
    timm.models.save_for_hf(model, str(out), model_args=model_args, safe_serialization=True)

    # Without these timm would prepare images as for its own weights.
    preparation = {
        "input_size": [3, *card.image],
        "mean": list(card.mean),
        "std": list(card.std),
        "num_classes": 0,
    }
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config["pretrained_cfg"] |= preparation
    work.write_json(out / "config.json", config)
    cards.write(out, card)


def load_timm(folder: Path) -> Features:
    """The features of a folder as timm loads it, without anything of ours."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    return run_module(model.eval())


def _find_structure(backbone: str) -> str:
    """The structure in the zoo that a backbone belongs to; "" where it is one of timm's own."""
    if backbone == names.DEMO:
        return "demo"
    for structure, members in names.STRUCTURES.items():
        if backbone in members:
            return structure
    return ""
