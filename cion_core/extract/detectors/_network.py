"""An exported network in onnxruntime: images in, outputs by what they hold out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cion_core.errors import CionError
from cion_core.extract.detectors import _card, _layouts
from cion_core.extract.detectors._card import DetectorCard

IMAGE_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
SIZE_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the first that is there is used
LONGEST_REASON = 200  # characters of what onnxruntime says
QUIET = 3  # errors alone: onnxruntime's warnings are not for whoever extracts people


class Network:
    """An ONNX file, on the GPU where there is one."""

    def __init__(self, file: Path, card: DetectorCard) -> None:
        """Load it.

        Args:
            file: the ONNX file.
            card: how it is used.

        Raises:
            CionError: it cannot be loaded, or does not take or give what the card says.
        """
        import onnxruntime  # an extra: asked for only where such a detector is chosen

        onnxruntime.set_default_logger_severity(QUIET)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        available = onnxruntime.get_available_providers()
        providers = [name for name in PROVIDERS if name in available]
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # onnxruntime has an exception of its own for each kind of fault
            raise CionError(
                f"extract.onnx.model {file}: onnxruntime cannot load it: {_first_line(error)}"
            ) from error
        self._file, self._card = file, card
        self._image, self._size = self._find_inputs()
        self._names = self._find_outputs()

    def run(self, images: list[np.ndarray]) -> list[_layouts.Outputs]:
        """Send images through the network, as many at once as it takes.

        Args:
            images: BGR uint8 [H, W, 3], all of one size.

        Returns:
            The outputs for each image.
        """
        fixed = self._image.shape[0]
        at_once = fixed if isinstance(fixed, int) else len(images)
        outputs: list[_layouts.Outputs] = []
        for start in range(0, len(images), at_once):
            batch = images[start : start + at_once]
            # A network of a fixed batch gets the last image again until it is full.
            missing = at_once - len(batch)
            filled = batch + [batch[-1]] * missing
            outputs += self._run_batch(filled)[: len(batch)]
        return outputs

    def _run_batch(self, images: list[np.ndarray]) -> list[_layouts.Outputs]:
        height, width = images[0].shape[:2]
        feed = {self._image.name: self._make_tensor(images)}
        if self._size is not None:
            size = np.array([[width, height]], SIZE_TYPES[self._size.type])
            feed[self._size.name] = np.tile(size, (len(images), 1))
        try:
            outputs = self._session.run(list(self._names.values()), feed)
        except Exception as error:
            raise CionError(
                f"{_card.card_path(self._file)}: size {list(self._card.size)}, fit "
                f"{self._card.fit}: the network does not take an image of {height} x {width}: "
                f"{_first_line(error)}"
            ) from error
        of_images = zip(*outputs, strict=True)
        return [dict(zip(self._names, arrays, strict=True)) for arrays in of_images]

    def _make_tensor(self, images: list[np.ndarray]) -> np.ndarray:
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
        return tensor.astype(IMAGE_TYPES[self._image.type], copy=False)

    def _find_inputs(self) -> tuple:
        """The input of images, and with `labelled` that of the size (else None); checked."""
        inputs = self._session.get_inputs()
        images = [one for one in inputs if one.type in IMAGE_TYPES and len(one.shape) == 4]
        others = [one for one in inputs if one not in images]
        takes_size = self._card.layout == "labelled"
        has_one_image = len(images) == 1 and images[0].shape[1] == 3
        has_too_many = len(others) > (1 if takes_size else 0)
        if not has_one_image or has_too_many:
            needed = "a detector takes one image [n, 3, H, W]"
            if takes_size:
                needed += " and the size [n, 2] that boxes are wanted in"
            raise CionError(f"{self._file}: takes {_list_shapes(inputs)}\n{needed}")
        image = images[0]
        self._check_size(image.shape[2:])
        return image, others[0] if others else None

    def _check_size(self, sides: list) -> None:
        """Raise CionError if the network takes images of one size, and the card says another.

        Args:
            sides: height and width that the network takes; names where it takes any.
        """
        fixed = tuple(side for side in sides if isinstance(side, int))
        if not fixed:
            return
        if fixed != self._card.size or self._card.fit == "rectangle":
            raise CionError(
                f"{_card.card_path(self._file)}: size {list(self._card.size)}, fit "
                f"{self._card.fit}: the network takes images of {sides} alone"
            )

    def _find_outputs(self) -> dict[str, str]:
        """The names of the outputs by what they hold; checked."""
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        roles = _layouts.LAYOUTS[self._card.layout].roles
        names = self._card.outputs or _guess_names(roles, list(shapes))
        has_all_roles = set(names) == set(roles)
        is_known = set(names.values()) <= set(shapes)
        if not has_all_roles or not is_known:
            raise CionError(
                f"{_card.card_path(self._file)}: outputs {self._card.outputs}: layout "
                f"{self._card.layout} needs the names of {', '.join(roles)}\n"
                f"the network puts out {_list_shapes(self._session.get_outputs())}"
            )
        for role, name in names.items():
            axes = 2 if role in ("labels", "scores") else 3
            if len(shapes[name]) != axes:
                raise CionError(
                    f"{self._file}: output {name} has shape {shapes[name]}, and {role} of layout "
                    f"{self._card.layout} has {axes} axes\nlayouts: {', '.join(_layouts.LAYOUTS)}"
                )
        return {role: names[role] for role in roles}


def _guess_names(roles: tuple[str, ...], outputs: list[str]) -> dict[str, str]:
    """Names of outputs by what they hold, where no card says them: the only ones, or the same."""
    if len(roles) == 1:
        return {roles[0]: outputs[0]}  # others, such as masks, come after it
    if set(roles) <= set(outputs):
        return {role: role for role in roles}
    return {}


def _list_shapes(values: list) -> str:
    return ", ".join(f"{value.name} {value.shape}" for value in values)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:LONGEST_REASON]
