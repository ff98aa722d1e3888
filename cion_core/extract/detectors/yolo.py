"""Any YOLO of ultralytics (AGPL-3.0, optional).

It is given as weights, as an export, or by a name that ultralytics can download.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from cion_core.config import Section
from cion_core.errors import CionError
from cion_core.extract.detectors.base import Detector, advise_no_weights, detections
from cion_core.extract.settings import Extract

PERSON = ("person", "pedestrian")  # what people are called in the weights' classes
SOURCE = ("github.com", 443)  # where ultralytics downloads from


class Yolo(Detector):
    """A YOLO that ultralytics runs. Confidence is YOLO's own."""

    about = "any YOLO of ultralytics (pip install '.[yolo]', AGPL-3.0); weights, any camera"
    shared = True
    needs_weights = True

    class Settings(Section):
        """weights: a file or folder that ultralytics reads, by its suffix, or a name of its own.

        On a CPU an export (`yolo export model=... format=openvino`, or onnx) may be faster.
        """

        weights: str

    def __init__(self, section: Extract) -> None:
        super().__init__(section)
        self.check(section)
        weights = self.settings.weights
        # A missing package is an error, not an installation.
        os.environ.setdefault("YOLO_AUTOINSTALL", "false")
        from cion_core import compat  # noqa: F401 before ultralytics, which imports torchvision
        from ultralytics import YOLO  # isort: skip

        try:
            self._model = YOLO(weights, task="detect")
            names = self._model.names
        except (TypeError, ValueError, RuntimeError, OSError, ImportError) as error:
            raise CionError(
                f"extract.yolo.weights {weights}: ultralytics cannot load it: {error}"
            ) from error
        self._classes = [number for number, name in names.items() if name.lower() in PERSON]
        if not self._classes:
            raise CionError(
                f"extract.yolo.weights {weights}: knows no class person, only "
                f"{list(names.values())}"
            )

    @classmethod
    def check(cls, section: Extract) -> None:
        """See `Detector.check`."""
        weights = section.settings(cls.name).weights
        path = Path(weights)
        if importlib.util.find_spec("ultralytics") is None:
            raise CionError(
                "extract.detector yolo needs ultralytics (AGPL-3.0): pip install -e '.[yolo]'; "
                f"{advise_no_weights()}"
            )
        is_name = path.name == weights  # and no path: ultralytics may know it
        if path.exists() or (is_name and _is_reachable()):
            return
        missing = "no such file, and no network to fetch it by name" if is_name else "no such file"
        raise CionError(
            f"extract.yolo.weights {weights}: {missing}; put the weights at {path.absolute()}, "
            f"{advise_no_weights()}"
        )

    @classmethod
    def inputs(cls, section: Extract) -> list[Path]:
        """See `Detector.inputs`: the file of weights, or all files of an export."""
        weights = Path(section.settings(cls.name).weights)
        if weights.is_dir():  # an export to OpenVINO
            return sorted(path for path in weights.rglob("*") if path.is_file())
        return [weights] if weights.is_file() else []

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """See `Detector.detect`."""
        return self.detect_many([frame], [index])[0]

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """See `Detector.detect_many`. All go through the network together."""
        wanted = {"conf": self.section.confidence, "classes": self._classes, "verbose": False}
        results = self._model.predict(list(frames), **wanted)
        return [_to_detections(result.boxes) for result in results]


def _to_detections(boxes: Any) -> sv.Detections:
    """Boxes of ultralytics in supervision's form."""
    return detections(boxes.xyxy.cpu().numpy(), boxes.conf.cpu().numpy())


def _is_reachable(seconds: float = 0.6) -> bool:
    """Whether ultralytics could download; if not, it would try again for long.

    Args:
        seconds: to wait at most, for the look-up of the name too.
    """
    answered = []

    def attempt() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(SOURCE, timeout=seconds).close()
            answered.append(True)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered)
