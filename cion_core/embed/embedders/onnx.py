"""Any model that somebody has exported to ONNX, by onnxruntime."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cion_core import work
from cion_core.config import Count, Section
from cion_core.embed.embedders.base import Embedder
from cion_core.errors import CionError
from cion_core.images import resize
from cion_core.runtime import Runtime

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SUFFIX = ".onnx"
# What onnxruntime says of a file that is no graph, and how it numbers what it says.
NO_GRAPH = ("Protobuf parsing failed", "No graph was found")
CODES = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Onnx(Embedder):
    """A graph of onnxruntime.

    It runs in batches of at most `runtime.batch` images, or of the one size that it was exported
    for.
    """

    about = "a model in ONNX, run by onnxruntime"

    class Settings(Section):
        """What a graph does not tell: how its images are prepared.

        Attributes:
            image: (height, width) in pixels.
            mean: per channel of images scaled to 0..1, in RGB order whatever `bgr` says.
            std: as `mean`.
            bgr: whether the model takes blue first.
            resize: as in `images.resize`.
            file: the graph, by its path in the model folder.
            output: the name of the feature among several outputs; empty for the first one.
            name: where the model is from, as in `zoo.Card`; so are the rest.
            licence: see there.
            extra: see there.
        """

        image: tuple[Count, Count]
        mean: tuple[float, float, float] = IMAGENET[0]
        std: tuple[float, float, float] = IMAGENET[1]
        bgr: bool = False
        resize: Literal["", "bilinear", "bicubic"] = ""
        file: str = "model.onnx"
        output: str = ""
        name: str = ""
        licence: str = ""
        extra: dict = Field(default_factory=dict)

    def __init__(self, folder: Path, settings: Settings, runtime: Runtime) -> None:
        super().__init__(folder, settings, runtime)
        path = folder / settings.file
        self._session = session(path, runtime.device)
        self.device = "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"
        self._input = image_input(self._session, path)
        self._output = self._feature_output(path)
        self.size = settings.image
        # A graph that was exported for one batch size takes no other: the last batch is filled up
        # with zeros.
        fixed = self._input.shape[0]
        self._fixed = fixed if isinstance(fixed, int) else None
        self._batch = self._fixed or runtime.batch
        self._channels_last = is_channels_last(self._input.shape)
        self._type = TYPES[self._input.type]
        self.weights = work.sha256(path)
        self.dim = self._width(path)

    @property
    def preparation(self) -> tuple[tuple, tuple]:
        return self.settings.mean, self.settings.std

    def prepared_as(self, mean: tuple, std: tuple) -> Onnx:
        other = copy(self)
        other.settings = self.settings.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        return other

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return resize(image, self.size, self.settings.resize)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        features = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), self._batch):
            part = [self.prepare(image) for image in images[start : start + self._batch]]
            found = self._run(np.stack(part))
            features[start : start + len(part)] = found / np.linalg.norm(
                found, axis=1, keepdims=True
            )
        return features

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 RGB [n, H, W, 3] -> float32 [n, dim] as the graph gives them."""
        count = len(pixels)
        if self._fixed and count < self._fixed:
            filling = np.zeros((self._fixed - count, *pixels.shape[1:]), np.uint8)
            pixels = np.concatenate([pixels, filling])
        mean, std = np.float32(self.settings.mean), np.float32(self.settings.std)
        values = (pixels.astype(np.float32) / 255 - mean) / std
        if self.settings.bgr:
            values = values[..., ::-1]
        if not self._channels_last:
            values = values.transpose(0, 3, 1, 2)
        given = {self._input.name: np.ascontiguousarray(values, self._type)}
        found = self._session.run([self._output], given)[0]
        return found.reshape(len(pixels), -1)[:count].astype(np.float32)

    def _feature_output(self, path: Path) -> str:
        """The name of the output that is the feature: the card's, or the first one."""
        names = [output.name for output in self._session.get_outputs()]
        wanted = self.settings.output
        if wanted and wanted not in names:
            raise CionError(f"{path}: no output {wanted!r}; there are {', '.join(names)}")
        return wanted or names[0]

    def _width(self, path: Path) -> int:
        """The width of a feature, seen on an empty image, which also shows that the graph runs."""
        try:
            return self._run(np.zeros((1, *self.size, 3), np.uint8)).shape[1]
        except Exception as error:  # of onnxruntime's own kinds, which share no base class
            reason = str(error).strip().splitlines()[0]
            height, width = self.size
            raise CionError(
                f"{path}: does not run on an image of {height}x{width} pixels: {reason}"
            ) from None


def session(path: Path, device: str = "cpu"):
    """Open a session of onnxruntime.

    Args:
        path: the ONNX file.
        device: auto, cpu or cuda, as in `Runtime`.

    Raises:
        CionError: onnxruntime is not installed, there is no such file, or it is no graph that runs
            here.
    """
    try:
        import onnxruntime
    except ImportError:
        raise CionError(
            "onnxruntime is not installed: pip install -e '.[export]' (onnxruntime-gpu for GPUs)"
        ) from None
    if not path.is_file():
        raise CionError(f"{path}: no such file")
    providers = ["CPUExecutionProvider"]
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise CionError(
            "device: cuda was asked for, but onnxruntime has no CUDA here: pip install "
            "onnxruntime-gpu"
        )
    if device != "cpu" and has_cuda:
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # 0: as many as there are cores
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of onnxruntime's own kinds, which share no base class
        raise CionError(f"{path}: not an ONNX graph that runs here ({_in_words(error)})") from None


def _in_words(error: Exception) -> str:
    """What onnxruntime says of a file, without its codes."""
    text = str(error).strip().splitlines()[0]
    if any(sign in text for sign in NO_GRAPH):
        return "it is damaged, cut off, or of another format"
    return CODES.sub("", text)


def image_input(session, path: Path):
    """Find the one input of a session.

    Args:
        session: of onnxruntime.
        path: its file, for the error.

    Returns:
        The input, float [B, 3, H, W] or [B, H, W, 3].

    Raises:
        CionError: there are several, or it is of another form.
    """
    inputs = session.get_inputs()
    found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
    (first, *others) = inputs
    colours = len(first.shape) == 4 and 3 in (first.shape[1], first.shape[3])
    if others or first.type not in TYPES or not colours:
        raise CionError(
            f"{path}: takes {found}; valid: one input, float, of shape [B, 3, H, W] or [B, H, W, 3]"
        )
    return first


def is_channels_last(shape: Sequence[int | str]) -> bool:
    """Whether a graph's input has its colours at the end.

    Args:
        shape: four numbers or names.
    """
    return shape[1] != 3 and shape[3] == 3


def image_size(shape: Sequence[int | str]) -> tuple[int, int] | None:
    """Read the size of a graph's images.

    Args:
        shape: of its input, four numbers or names.

    Returns:
        (height, width); None where it takes any.
    """
    height, width = shape[1:3] if is_channels_last(shape) else shape[2:4]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
