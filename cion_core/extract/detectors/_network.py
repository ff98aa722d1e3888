"""An exported network in onnxruntime: images in, outputs by what they hold out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cion_core.errors import CionError
from cion_core.extract.detectors import _card, _layouts
from cion_core.extract.detectors._card import Card

IMAGES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
SIZES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}
QUIET = 3  # errors alone: onnxruntime's warnings are not for whoever extracts people


class Network:
    """An ONNX file, on the GPU where there is one."""

    def __init__(self, file: Path, card: Card) -> None:
        """Load it.

        Raises:
            CionError: It cannot be loaded, or does not take or give what the card says.
        """
        import onnxruntime  # an extra: asked for only where such a detector is chosen

        onnxruntime.set_default_logger_severity(QUIET)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        there = onnxruntime.get_available_providers()
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in there]
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # onnxruntime has an exception of its own for each kind of fault
            raise CionError(
                f"extract.onnx.model {file}: onnxruntime cannot load it: {_reason(error)}"
            ) from error
        self._file, self._card = file, card
        self._image, self._size = self._inputs()
        self._names = self._outputs()

    def run(self, images: list[np.ndarray]) -> list[_layouts.Outputs]:
        """Send images through the network, as many at once as it takes.

        Args:
            images: BGR uint8 [H, W, 3], all of one size.

        Returns:
            The outputs for each image.
        """
        fixed = self._image.shape[0]
        at_once = fixed if isinstance(fixed, int) else len(images)
        found: list[_layouts.Outputs] = []
        for start in range(0, len(images), at_once):
            some = images[start : start + at_once]
            filled = some + [some[-1]] * (at_once - len(some))
            found += self._batch(filled)[: len(some)]
        return found

    def _batch(self, images: list[np.ndarray]) -> list[_layouts.Outputs]:
        height, width = images[0].shape[:2]
        feed = {self._image.name: self._tensor(images)}
        if self._size is not None:
            size = np.array([[width, height]], SIZES[self._size.type])
            feed[self._size.name] = np.tile(size, (len(images), 1))
        try:
            values = self._session.run(list(self._names.values()), feed)
        except Exception as error:
            raise CionError(
                f"{_card.beside(self._file)}: size {list(self._card.size)}, fit {self._card.fit}: "
                f"the network does not take an image of {height} x {width}: {_reason(error)}"
            ) from error
        return [dict(zip(self._names, parts, strict=True)) for parts in zip(*values, strict=True)]

    def _tensor(self, images: list[np.ndarray]) -> np.ndarray:
        """[n, 3, H, W] in the network's form, normalised as the card says."""
        card = self._card
        pixels = np.stack(images)
        if card.colours == "rgb":
            pixels = pixels[..., ::-1]
        tensor = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
        tensor /= np.float32(card.divide_by)
        if any(card.mean):
            tensor -= np.array(card.mean, np.float32).reshape(3, 1, 1)
        if card.std != (1, 1, 1):
            tensor /= np.array(card.std, np.float32).reshape(3, 1, 1)
        return tensor.astype(IMAGES[self._image.type], copy=False)

    def _inputs(self) -> tuple:
        """The input of images, and with `labelled` that of the size (else None); checked."""
        inputs = self._session.get_inputs()
        images = [one for one in inputs if one.type in IMAGES and len(one.shape) == 4]
        others = [one for one in inputs if one not in images]
        sized = self._card.layout == "labelled"
        if len(images) != 1 or images[0].shape[1] != 3 or len(others) > sized:
            raise CionError(
                f"{self._file}: takes {_told(inputs)}\na detector takes one image [n, 3, H, W]"
                + (" and the size [n, 2] that boxes are wanted in" if sized else "")
            )
        fixed = [side for side in images[0].shape[2:] if isinstance(side, int)]
        wrong = fixed and (tuple(fixed) != self._card.size or self._card.fit == "rectangle")
        if wrong:
            raise CionError(
                f"{_card.beside(self._file)}: size {list(self._card.size)}, fit {self._card.fit}: "
                f"the network takes images of {images[0].shape[2:]} alone"
            )
        return images[0], others[0] if others else None

    def _outputs(self) -> dict[str, str]:
        """The names of the outputs by what they hold; checked."""
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        roles = _layouts.ROLES[self._card.layout]
        names = dict(self._card.outputs)
        if not names and len(roles) == 1:
            names = {roles[0]: next(iter(outputs))}  # others, such as masks, come after it
        if not names and set(roles) <= set(outputs):
            names = {role: role for role in roles}
        if set(names) != set(roles) or not set(names.values()) <= set(outputs):
            raise CionError(
                f"{_card.beside(self._file)}: outputs {self._card.outputs}: layout "
                f"{self._card.layout} needs the names of {', '.join(roles)}\n"
                f"the network puts out {_told(self._session.get_outputs())}"
            )
        for role, name in names.items():
            axes = 2 if role in ("labels", "scores") else 3
            if len(outputs[name]) != axes:
                raise CionError(
                    f"{self._file}: output {name} has shape {outputs[name]}, and {role} of layout "
                    f"{self._card.layout} has {axes} axes\nlayouts: {', '.join(_layouts.ROLES)}"
                )
        return {role: names[role] for role in roles}


def _told(values: list) -> str:
    return ", ".join(f"{value.name} {value.shape}" for value in values)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
