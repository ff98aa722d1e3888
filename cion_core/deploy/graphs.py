"""Models as graphs that run without this project: ONNX and TorchScript, with the card inside."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.utils import reparameterize_model

from cion_core.deploy import agree
from cion_core.errors import CionError
from cion_core.zoo import Card

# The opset that is written unless another is asked for: the lowest of torch's newer exporter, so
# that the oldest runtimes load it.
OPSET = 18
# The lowest opset of torch's older exporter.
OLDEST_OPSET = 11
# The version of ONNX's file format that came with an opset. Runtimes refuse a file whose version is
# newer than they are.
FILE_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

# Takes float32 [B, 3, H, W], and gives float [B, D].
Features = Callable[[torch.Tensor], np.ndarray]


class Fused(nn.Module):
    """From RGB values 0..1 to features of length 1: a model between normalisation and L2.

    Args:
        model: from normalised images [B, 3, H, W] to [B, D].
        card: its card, for mean and std.
    """

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [B, 3, H, W], RGB 0..1, to features [B, D]."""
        normalised = (images - self.mean) / self.std
        return nn.functional.normalize(self.model(normalised), dim=1)


def make_deployable(model: nn.Module, card: Card, fused: bool) -> nn.Module:
    """A model as it is exported: re-parameterised if its structure can be, and fused if asked."""
    single_branch = reparameterize_model(model).eval()
    return Fused(single_branch, card).eval() if fused else single_branch


def write_onnx(model: nn.Module, card: Card, out: Path, fused: bool, opset: int = OPSET) -> None:
    """Write an ONNX file that takes `images` of any batch size, and gives `features`.

    Args:
        model: in eval mode, on the CPU.
        card: its card, which goes into the file's properties.
        out: the file.
        fused: whether to write `Fused`.
        opset: the version of ONNX's operators; below OPSET torch's older exporter writes them.

    Raises:
        CionError: onnx is not installed, or the model has no form in this opset.
    """
    newest = max(FILE_VERSIONS)
    if not OLDEST_OPSET <= opset <= newest:
        raise CionError(f"opset {opset}; valid: {OLDEST_OPSET} to {newest}")
    try:
        import onnx
    except ImportError:
        raise CionError("onnx is not installed: pip install -e '.[export]'") from None

    # 1. Let torch write the graph. A batch of two, for a batch of one could be taken for a
    # constant.
    network = make_deployable(model, card, fused)
    example = (torch.zeros(2, 3, *card.image),)
    settings = {
        "input_names": ["images"],
        "output_names": ["features"],
        "opset_version": opset,
        "verbose": False,
    }
    if opset >= OPSET:
        settings |= {
            "dynamo": True,
            "external_data": False,
            "dynamic_shapes": ({0: torch.export.Dim("batch")},),
        }
    else:
        axes = {"images": {0: "batch"}, "features": {0: "batch"}}
        settings |= {"dynamo": False, "dynamic_axes": axes}
    try:
        torch.onnx.export(network, example, out, **settings)
    except torch.onnx.errors.OnnxExporterError as error:
        if opset >= OPSET:
            raise
        reason = str(error).strip().splitlines()[0]
        lack = f"{card.backbone} has no form in opset {opset} ({reason})"
        raise CionError(f"{lack}; try {OPSET}") from None

    # 2. Give the file the version of its opset's time, and the card.
    graph = onnx.load(out)
    own_version = FILE_VERSIONS.get(opset, FILE_VERSIONS[OPSET])
    graph.ir_version = min(graph.ir_version, own_version)
    properties = {"card": json.dumps(card.known), "fused": json.dumps(fused)}
    onnx.helper.set_model_props(graph, properties)
    onnx.checker.check_model(graph)
    onnx.save(graph, out)


def load_onnx(file: Path) -> Features:
    """The features of an ONNX file, by onnxruntime on the CPU.

    Raises:
        CionError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise CionError("onnxruntime is not installed: pip install -e '.[export]'") from None
    options = onnxruntime.SessionOptions()
    # Errors alone.
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> np.ndarray:
        (features,) = session.run(["features"], {"images": images.numpy()})
        return features

    return run


def try_in_opencv(file: Path, images: torch.Tensor, wanted: np.ndarray) -> str:
    """Find out whether OpenCV's own runtime (cv2.dnn) gives the model's features.

    Args:
        file: ONNX.
        images: float32 [n, 3, H, W], as the file wants them; they are given one by one.
        wanted: the model's features [n, D].

    Returns:
        What was found, in words: OpenCV lacks some operators.
    """
    try:
        network = cv2.dnn.readNetFromONNX(str(file))
        features = []
        for image in images.numpy():
            network.setInput(image[None])
            features.append(network.forward().reshape(-1))
        agree.check_agreement(wanted, np.stack(features), "OpenCV (cv2.dnn) gives")
    except CionError as error:
        return f"{error}; use onnxruntime"
    except cv2.error as error:
        last_line = str(error).strip().splitlines()[-1]
        reason = re.sub(r".*error: ", "", last_line)
        return f"OpenCV (cv2.dnn) does not run it ({reason[:100]}); use onnxruntime"
    return "OpenCV (cv2.dnn) gives the same, one image at a time"


def write_torchscript(model: nn.Module, card: Card, out: Path, fused: bool) -> None:
    """Write a TorchScript file; arguments as of `write_onnx`."""
    network = make_deployable(model, card, fused)
    example = torch.zeros(2, 3, *card.image)
    with torch.no_grad():
        traced = torch.jit.trace(network, example, check_trace=False)
    extra_files = {"card.json": json.dumps(card.known), "fused": json.dumps(fused)}
    torch.jit.save(torch.jit.freeze(traced), str(out), _extra_files=extra_files)


def load_torchscript(file: Path) -> Features:
    """The features of a TorchScript file, on the CPU."""
    return run_module(torch.jit.load(str(file), map_location="cpu"))


def run_module(model: nn.Module) -> Features:
    """The features of a module."""

    def run(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return model(images).numpy()

    return run


@contextmanager
def silence_exporters() -> Iterator[None]:
    """Keep the exporters still: they warn of their own insides, and log their progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
