"""Any YOLO of ultralytics (AGPL-3.0, optional): a weights file, or a name that ultralytics can download."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import threading
from pathlib import Path

import numpy as np
import supervision as sv

from cion_core.errors import CionError
from cion_core.extract.detectors import WITHOUT_WEIGHTS, Detector, detections

PERSON = ("person", "pedestrian")  # what people are called in the weights' classes
SOURCE = ("github.com", 443)  # where ultralytics downloads from
OTHERWISE = f"or set extract.detector to one that needs no weights: {', '.join(WITHOUT_WEIGHTS)}"


class Yolo(Detector):
    """Confidence is YOLO's own."""

    def __init__(self, weights: str, confidence: float) -> None:
        check(weights)
        os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # a missing package is an error, not an installation
        from cion_core import compat  # noqa: F401 before ultralytics, which imports torchvision
        from ultralytics import YOLO  # isort: skip

        try:
            self._model = YOLO(weights, task="detect")
            names = self._model.names
        except (TypeError, ValueError, RuntimeError, OSError, ImportError) as error:
            raise CionError(f"extract.weights {weights}: ultralytics cannot load it: {error}") from error
        self._confidence = confidence
        self._classes = [i for i, name in names.items() if name.lower() in PERSON]
        if not self._classes:
            raise CionError(f"extract.weights {weights}: knows no class person, only {list(names.values())}")

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        result = self._model.predict(frame, conf=self._confidence, classes=self._classes, verbose=False)[0]
        return detections(result.boxes.xyxy.cpu().numpy(), result.boxes.conf.cpu().numpy())


def check(weights: str) -> None:
    """Fail at once, with a CionError that says what to do, if the detector cannot work on this machine."""
    if importlib.util.find_spec("ultralytics") is None:
        raise CionError(f"extract.detector yolo needs ultralytics (AGPL-3.0): pip install -e '.[yolo]'; {OTHERWISE}")
    path = Path(weights)
    if path.is_file() or (path.name == weights and _reachable()):
        return
    raise CionError(
        f"extract.weights {weights}: no such file"
        + (", and no network to fetch it by name" if path.name == weights else "")
        + f"; put the weights at {path.absolute()}, {OTHERWISE}"
    )


def _reachable(seconds: float = 0.6) -> bool:
    """Whether ultralytics could download (it would retry for long if not); the name's look-up is bounded too."""
    answered = []

    def attempt() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(SOURCE, timeout=seconds).close()
            answered.append(True)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered)
