"""What a model can be exported to."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A format, by its name on the command line."""

    onnx = "onnx"
    torchscript = "torchscript"
    safetensors = "safetensors"
    timm = "timm"


# What the name of an exported file or folder ends in.
SUFFIX = {
    Format.onnx: ".onnx",
    Format.torchscript: ".pt",
    Format.safetensors: "",
    Format.timm: "-timm",
}
