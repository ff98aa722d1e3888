"""Any exported person detector, run by onnxruntime: one ONNX file, and a card that says how."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import supervision as sv

from cion_core.config import Section
from cion_core.errors import CionError
from cion_core.extract.detectors import _card, _layouts
from cion_core.extract.detectors._fitting import Fitted, fit
from cion_core.extract.detectors._network import Network
from cion_core.extract.detectors.base import Detector, advise_no_weights, detections
from cion_core.extract.settings import Extract


class Onnx(Detector):
    """An exported network.

    Confidence is the network's own. The card decides how frames go in and what comes out; see
    `_card.DetectorCard` and docs/detectors.md.
    """

    about = (
        "any exported detector with a card beside it (pip install '.[onnx]'); weights, any camera"
    )
    shared = True
    needs_weights = True

    class Settings(Section):
        """model: the ONNX file; its card is the JSON file of the same name beside it."""

        model: str

    def __init__(self, section: Extract) -> None:
        super().__init__(section)
        self.check(section)
        self._file = Path(self.settings.model)
        self._card = _card.read(self._file)
        self._network = Network(self._file, self._card)

    @classmethod
    def check(cls, section: Extract) -> None:
        """See `Detector.check`."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise CionError(
                "extract.detector onnx needs onnxruntime: pip install '.[onnx]'; "
                f"{advise_no_weights()}"
            )
        model = Path(section.settings(cls.name).model)
        if not model.is_file():
            raise CionError(
                f"extract.onnx.model {model}: no such file\n"
                f"put an exported detector there (docs/detectors.md), {advise_no_weights()}"
            )
        _card.read(model)

    @classmethod
    def inputs(cls, section: Extract) -> list[Path]:
        """See `Detector.inputs`: the model and its card."""
        model = Path(section.settings(cls.name).model)
        return [path for path in (model, _card.card_path(model)) if path.is_file()]

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """See `Detector.detect`."""
        return self.detect_many([frame], [index])[0]

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """See `Detector.detect_many`. Frames of one size go through the network together."""
        fitted = [fit(frame, self._card.size, self._card.fit) for frame in frames]
        found: dict[int, sv.Detections] = {}
        for rows in _group_by_size(fitted):
            images = [fitted[row].image for row in rows]
            outputs = self._network.run(images)
            for row, output in zip(rows, outputs, strict=True):
                found[row] = self._find_people(output, fitted[row])
        return [found[row] for row in range(len(frames))]

    def _find_people(self, outputs: _layouts.Outputs, fitted: Fitted) -> sv.Detections:
        """The people in one image."""
        boxes, scores, classes = _layouts.decode(outputs, self._card, fitted.image.shape[:2])
        is_confident = scores > self.section.confidence
        is_person = np.isin(classes, self._card.persons)
        wanted = is_confident & is_person
        found = detections(boxes[wanted], scores[wanted])
        if _layouts.LAYOUTS[self._card.layout].repeats:
            found = found.with_nms(threshold=self._card.overlap, class_agnostic=True)
        found.xyxy = fitted.to_frame(found.xyxy)
        return found


def _group_by_size(fitted: list[Fitted]) -> list[list[int]]:
    """The rows of `fitted` whose images have the same size, together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, one in enumerate(fitted):
        groups.setdefault(one.image.shape, []).append(row)
    return list(groups.values())
