"""OpenCV's own people detector: HOG features and a linear SVM (Dalal & Triggs, CVPR 2005)."""

from __future__ import annotations

import cv2
import numpy as np
import supervision as sv

from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.settings import Extract

TEMPLATE = 96  # pixels that a person is tall in the detector's 64x128 window; the rest is margin
ENLARGE = 1.5  # at most, to find small people: the work grows with the square
WINDOW = (64, 128)  # pixels, width and height; OpenCV reads beyond frames that are smaller
OVERLAP = 0.45  # IoU above which the less confident of two boxes is the same person's


class Hog(Detector):
    """A window that slides over the frame, judged by an SVM.

    Confidence is 1 - exp(-margin) of the SVM: 0 at the decision border, 0.3 at a margin of 0.36,
    and 0.63 at 1.
    """

    about = "OpenCV's own people detector, of HOG features; no weights, any camera"

    def __init__(self, section: Extract) -> None:
        super().__init__(section)
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
        self._zoom = float(np.clip(TEMPLATE / section.min_height, 1.0, ENLARGE))

    def detect(self, frame: np.ndarray, index: int) -> sv.Detections:
        """See `Detector.detect`."""
        zoomed = _pad(cv2.resize(frame, None, fx=self._zoom, fy=self._zoom))
        windows, margins = self._find_windows(zoomed)
        if not len(windows):
            return detections([], [])
        boxes = _shrink_to_people(windows / self._zoom)
        confidences = 1 - np.exp(-np.maximum(margins, 0))
        found = detections(boxes, confidences)
        return found.with_nms(threshold=OVERLAP, class_agnostic=True)

    def _find_windows(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows x y w h, float32 [n, 4], and the SVM's margins, float [n]."""
        windows, margins = self._hog.detectMultiScale(
            frame, hitThreshold=0, winStride=(8, 8), padding=(16, 16), scale=1.1, groupThreshold=0
        )
        windows = np.asarray(windows, np.float32).reshape(-1, 4)
        margins = np.ravel(margins)
        # OpenCV's threads find windows in any order. In one order a frame always gives the same
        # boxes.
        order = np.lexsort((*windows.T, margins))
        return windows[order], margins[order]


def _shrink_to_people(windows: np.ndarray) -> np.ndarray:
    """Boxes x1 y1 x2 y2 of people in windows x y w h, which have a margin around them."""
    x, y, w, h = windows.T
    return np.stack([x + 0.17 * w, y + 0.1 * h, x + 0.83 * w, y + 0.92 * h], axis=1)


def _pad(frame: np.ndarray) -> np.ndarray:
    """`frame` with its last row and column repeated to the right and below, up to the window."""
    height, width = frame.shape[:2]
    right = max(0, WINDOW[0] - width)
    below = max(0, WINDOW[1] - height)
    return cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
