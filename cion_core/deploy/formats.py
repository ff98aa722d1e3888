"""What a model can be exported to."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """By its name on the command line."""

    onnx = "onnx"
    torchscript = "torchscript"
    safetensors = "safetensors"
    timm = "timm"


SUFFIX = {Format.onnx: ".onnx", Format.torchscript: ".pt", Format.safetensors: "", Format.timm: "-timm"}
