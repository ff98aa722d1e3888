"""Models for where people deploy them. What disagrees with the model is not kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cion_core import work, zoo
from cion_core.deploy import agree, graphs, timm_folder
from cion_core.deploy.formats import Format
from cion_core.deploy.graphs import OPSET, Features
from cion_core.errors import CionError
from cion_core.zoo import Card, to_tensor

# An export is compared on so many images at least, so that there is a ranking.
MIN_IMAGES = 3
# Images that the model itself is run on at once.
BATCH = 16


def export(
    model: nn.Module,
    card: Card,
    to: Format,
    out: Path,
    images: Sequence[np.ndarray],
    fused: bool = False,
    opset: int = OPSET,
) -> str:
    """Write a model in another format, load it again, and compare it with the model.

    Args:
        model: in eval mode, on the CPU. Every batch size goes into what is written, at the card's
            image size. RepViT and FastViT are re-parameterised for onnx and torchscript.
        card: its card.
        to: the format.
        out: a file for onnx and torchscript, which carry the card inside; else a folder.
        images: RGB uint8 [H, W, 3] of any sizes, on which both must agree.
        fused: whether the file takes RGB values 0..1 instead of normalised ones, and gives features
            of length 1.
        opset: of onnx; without meaning elsewhere.

    Returns:
        What there is to say of another runtime that ONNX files are tried in (OpenCV); else "".

    Raises:
        CionError: the format has no such model, or the export disagrees with it; then `out` is not
            there.
    """
    if fused and to in (Format.safetensors, Format.timm):
        other = "onnx and torchscript can hold the normalisation and L2 as well"
        raise CionError(f"{to} holds weights alone; {other}")
    if len(images) < MIN_IMAGES:
        least = f"at least {MIN_IMAGES}, so that there is a ranking"
        raise CionError(f"{len(images)} images; an export is compared on {least}")

    inputs = to_tensor(images, card)
    wanted = _run_model(model, inputs)
    if fused:
        not_normalised = (card.image, (0.0,) * 3, (1.0,) * 3)
        inputs = to_tensor(images, not_normalised)

    opencv = ""
    with work.replaced(out) as temporary, graphs.silence_exporters():
        _write(model, card, to, temporary, fused, opset)
        features = _load(to, temporary)
        # In batches of one and of the rest; a graph was traced with neither.
        found = np.concatenate([features(inputs[:1]), features(inputs[1:])])
        what = f"{out} is not written: the {to} export of {card.backbone} gives"
        agree.check_agreement(wanted, found, what)
        if to == Format.onnx:
            opencv = graphs.try_in_opencv(temporary, inputs[:3], wanted[:3])
    return opencv


def _run_model(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Features of the model itself, a batch at a time."""
    with torch.inference_mode():
        features = [model(batch) for batch in images.split(BATCH)]
        return torch.cat(features).numpy()


def _write(model: nn.Module, card: Card, to: Format, out: Path, fused: bool, opset: int) -> None:
    """Write `out` in a format."""
    match to:
        case Format.onnx:
            graphs.write_onnx(model, card, out, fused, opset)
        case Format.torchscript:
            graphs.write_torchscript(model, card, out, fused)
        case Format.safetensors:
            zoo.save(out, model, card)
        case Format.timm:
            timm_folder.write_timm(model, card, out)


def _load(to: Format, path: Path) -> Features:
    """Load what `_write` wrote, as others would."""
    match to:
        case Format.onnx:
            return graphs.load_onnx(path)
        case Format.torchscript:
            return graphs.load_torchscript(path)
        case Format.safetensors:
            model, _ = zoo.load(path)
            return graphs.run_module(model)
        case Format.timm:
            return timm_folder.load_timm(path)
