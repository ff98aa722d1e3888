"""Augmentation of labelled images: flip, shift and random erasing, as the practice of ReID has it."""

from __future__ import annotations

import cv2
import numpy as np

from cion_core.training.boxes import cut_to_fit

FLIP, ERASE = 0.5, 0.5
SHIFT = 10 / 256  # of the height: the customary 10 pixels at 256x128
AREA, RATIO = (0.02, 0.4), (0.3, 3.33)  # Zhong et al. 2020, section 3.2


def augment(image: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """A flipped, shifted and partly erased copy of `image` (RGB uint8 [H, W, 3])."""
    image = image[:, ::-1] if draws.random() < FLIP else image
    pad = max(1, round(SHIFT * image.shape[0]))
    top, left = draws.integers(0, 2 * pad + 1, 2)
    padded = cv2.copyMakeBorder(np.ascontiguousarray(image), pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    image = padded[top : top + image.shape[0], left : left + image.shape[1]].copy()
    if draws.random() < ERASE:
        _erase(image, draws)
    return image


def _erase(image: np.ndarray, draws: np.random.Generator) -> None:
    """Cover a random rectangle of `image` with noise, in place."""
    top, left, height, width = cut_to_fit(image.shape[:2], AREA, RATIO, draws)
    image[top : top + height, left : left + width] = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
