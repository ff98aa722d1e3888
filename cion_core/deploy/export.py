"""Models for where people deploy them; what disagrees with the model is not kept."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from cion_core import compat, zoo  # noqa: F401  compat before timm

# isort: split
import timm
from timm.utils import reparameterize_model

from cion_core import work
from cion_core.deploy import agree
from cion_core.deploy.formats import Format
from cion_core.errors import CionError
from cion_core.zoo import Card, names, to_tensor
from cion_core.zoo import card as cards

OPSET = 18  # the lowest that torch's exporter writes, so the oldest runtimes load it
# The version of the file format that came with an opset: runtimes refuse one that is newer than they are.
FORMATS = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
OLDEST = 11  # opset, by torch's older exporter
Features = Callable[[torch.Tensor], np.ndarray]  # float32 [B, 3, H, W] -> float [B, D]
NOT_TIMMS = {
    "ResNet": "its last stride is 1 without dilation, which timm's ResNet cannot be told",
    "ResNet-IBN": "timm has no IBN, and its ResNet cannot be told the last stride 1",
    "RepViT": "its squeeze-and-excite has other widths and another gate than timm's RepViT",
    "ViT": "timm's ViT has no convolutional stem with IBN",
    "demo": "timm has no IBN",
}


class Fused(nn.Module):
    """From RGB values 0..1 to unit features: normalisation before `model`, L2 after it. [B, 3, H, W] -> [B, D]."""

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.model((images - self.mean) / self.std), dim=1)


def export(
    model: nn.Module, card: Card, to: Format, out: Path, images: Sequence[np.ndarray], fused: bool = False,
    opset: int = OPSET,
) -> str:  # fmt: skip
    """Write `out`: a file for onnx and torchscript, which carry the card inside, a folder for safetensors and timm.

    `model` is in eval mode, on the CPU. Every batch size goes in, at the card's image size. RepViT and FastViT are
    re-parameterised for onnx and torchscript. With `fused` the file takes RGB values 0..1 instead of normalised ones,
    and gives unit features. Whatever is written is loaded again and compared with `model` on `images`, RGB uint8
    [H, W, 3] of any sizes. `opset` is ONNX's, and of no meaning elsewhere.

    Returns:
        What there is to say of other runtimes that ONNX files are also tried in (OpenCV); else empty.

    Raises:
        CionError: the format has no such model, or the export disagrees with it; then `out` is not there.
    """
    said = ""
    if fused and to in (Format.safetensors, Format.timm):
        raise CionError(f"{to} holds weights alone; onnx and torchscript can hold the normalisation and L2 as well")
    if len(images) < 3:
        raise CionError(f"{len(images)} images; an export is compared on at least 3, so that there is a ranking")
    tensor = to_tensor(images, card)
    with torch.inference_mode():
        wanted = torch.cat([model(tensor[i : i + 16]) for i in range(0, len(tensor), 16)]).numpy()
    write, load = _FORMATS[to]
    if fused:
        tensor = to_tensor(images, (card.image, (0.0,) * 3, (1.0,) * 3))
    with work.replaced(out) as temporary, quiet():
        if to == Format.onnx:
            _onnx(model, card, temporary, fused, opset)
        else:
            write(model, card, temporary, fused)
        features = load(temporary)
        # Neither size is the one that the graph was traced with.
        found = np.concatenate([features(tensor[:1]), features(tensor[1:])])
        agree.check(wanted, found, f"{out} is not written: the {to} export of {card.backbone} gives")
        if to == Format.onnx:
            said = in_opencv(temporary, tensor[:3], wanted[:3])
    return said


def deployed(model: nn.Module, card: Card, fused: bool) -> nn.Module:
    """`model` as it is exported: re-parameterised where its structure can be, and fused if asked for."""
    model = reparameterize_model(model).eval()
    return Fused(model, card).eval() if fused else model


def in_opencv(file: Path, images: torch.Tensor, wanted: np.ndarray) -> str:
    """Whether OpenCV's own runtime (cv2.dnn) gives the model's features, in words; it lacks some operators.

    Args:
        file: ONNX.
        images: float32 [n, 3, H, W], as the file wants them; they are given one by one.
        wanted: the model's features [n, D].
    """
    try:
        network = cv2.dnn.readNetFromONNX(str(file))
        found = []
        for image in images.numpy():
            network.setInput(image[None])
            found.append(network.forward().reshape(-1))
        agree.check(wanted, np.stack(found), "OpenCV (cv2.dnn) gives")
    except CionError as error:
        return f"{error}; use onnxruntime"
    except cv2.error as error:
        reason = re.sub(r".*error: ", "", str(error).strip().splitlines()[-1])
        return f"OpenCV (cv2.dnn) does not run it ({reason[:100]}); use onnxruntime"
    return "OpenCV (cv2.dnn) gives the same, one image at a time"


def _onnx(model: nn.Module, card: Card, out: Path, fused: bool, opset: int) -> None:
    if not OLDEST <= opset <= max(FORMATS):
        raise CionError(f"opset {opset}; valid: {OLDEST} to {max(FORMATS)}")
    try:
        import onnx
    except ImportError:
        raise CionError("onnx is not installed: pip install -e '.[export]'") from None
    network, example = deployed(model, card, fused), (torch.zeros(2, 3, *card.image),)
    named = {"input_names": ["images"], "output_names": ["features"], "opset_version": opset, "verbose": False}
    if opset >= OPSET:
        batch = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(network, example, out, dynamo=True, external_data=False, dynamic_shapes=batch, **named)
    else:
        axes = {"images": {0: "batch"}, "features": {0: "batch"}}
        try:
            torch.onnx.export(network, example, out, dynamo=False, dynamic_axes=axes, **named)
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise CionError(f"{card.backbone} has no form in opset {opset} ({reason}); try {OPSET}") from None
    whole = onnx.load(out)
    whole.ir_version = min(whole.ir_version, FORMATS.get(opset, FORMATS[OPSET]))
    onnx.helper.set_model_props(whole, {"card": json.dumps(card.known), "fused": json.dumps(fused)})
    onnx.checker.check_model(whole)
    onnx.save(whole, out)


def load_onnx(file: Path) -> Features:
    """The features of an ONNX file, by onnxruntime on the CPU."""
    try:
        import onnxruntime
    except ImportError:
        raise CionError("onnxruntime is not installed: pip install -e '.[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["features"], {"images": images.numpy()})[0]


def _torchscript(model: nn.Module, card: Card, out: Path, fused: bool) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(deployed(model, card, fused), torch.zeros(2, 3, *card.image), check_trace=False)
    extra = {"card.json": json.dumps(card.known), "fused": json.dumps(fused)}
    torch.jit.save(torch.jit.freeze(traced), str(out), _extra_files=extra)


def load_torchscript(file: Path) -> Features:
    """The features of a TorchScript file, on the CPU."""
    return _module(torch.jit.load(str(file), map_location="cpu"))


def _safetensors(model: nn.Module, card: Card, out: Path, _: bool) -> None:
    zoo.save(out, model, card)


def _timm(model: nn.Module, card: Card, out: Path, _: bool) -> None:
    structure = next((key for key, members in names.STRUCTURES.items() if card.backbone in members), "")
    if reason := NOT_TIMMS.get("demo" if card.backbone == names.DEMO else structure):
        raise CionError(f"timm has no {card.backbone}: {reason}; valid: onnx, torchscript, safetensors")
    if card.built_by:
        raise CionError(f"timm has no {card.built_by}, only backbones; valid: onnx, torchscript, safetensors")
    args = {"img_size": list(card.image)} if model.pretrained_cfg.get("fixed_input_size") else {}
    if structure == "Swin":
        args |= {"window_size": 8, "always_partition": True, "strict_img_size": False}
    about = {"input_size": [3, *card.image], "mean": list(card.mean), "std": list(card.std), "num_classes": 0}
    timm.models.save_for_hf(model, str(out), model_args=args, safe_serialization=True)
    config = json.loads((out / "config.json").read_text())
    config["pretrained_cfg"] |= about  # or timm would prepare images as for its own weights
    work.write_json(out / "config.json", config)
    cards.write(out, card)


def load_timm(folder: Path) -> Features:
    """The features of a folder as timm loads it, without anything of ours."""
    return _module(timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval())


def _module(model: nn.Module) -> Features:
    def features(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return model(images).numpy()

    return features


_FORMATS = {
    Format.onnx: (_onnx, load_onnx),
    Format.torchscript: (_torchscript, load_torchscript),
    Format.safetensors: (_safetensors, lambda folder: _module(zoo.load(folder)[0])),
    Format.timm: (_timm, load_timm),
}


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters warn of their own insides and report progress on every level of logging."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
