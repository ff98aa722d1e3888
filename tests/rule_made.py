"""Weights made by rule: the same for everybody, by the name of each tensor."""

from __future__ import annotations

import zlib

import numpy as np


def fill(key: str, shape: list[int]) -> np.ndarray:
    """The rule by which the facts' weights were made."""
    rng = np.random.default_rng([zlib.crc32(key.encode()), 0])
    n = rng.standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        return (0.5 + rng.random(shape)).astype(np.float32)
    if key.endswith("running_mean"):
        return 0.1 * n
    if len(shape) >= 2 and key.endswith("weight"):
        return n / np.sqrt(np.prod(shape[1:]))
    return 1 + 0.1 * n if key.endswith(".weight") else 0.1 * n
