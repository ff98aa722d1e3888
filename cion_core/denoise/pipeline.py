"""The three levels, one after another: the one way in which crops are denoised, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import cross_video, single_video, tracklet
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Settings
from cion_core.neighbours.rows import Rows

LEVELS: dict[str, Callable[..., Level]] = {
    "tracklet": tracklet.denoise,
    "video": single_video.denoise,
    "cross_video": cross_video.denoise,
}  # in order: of (crops, features, labels, settings, saved), each takes the labels that the one before it left


def run_level(
    name: str,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """One level. crops, features as `checks.checked` returns them; labels int64 [N]: what the level before it left,
    tracklets for the first; saved: a file (.npz) from which killed linking goes on."""
    return LEVELS[name](crops, features, labels, settings, saved)


def run(
    crops: pd.DataFrame, features: np.ndarray | Rows, settings: Settings, saved: Path | None = None
) -> tuple[Level, Level, Level]:
    """All levels. crops, features as `checks.checked` returns them; saved as for `run_level`."""
    labels, done = crops.tracklet.to_numpy(np.int64), []
    for name in LEVELS:
        done.append(run_level(name, crops, features, labels, settings, saved))
        labels = done[-1].labels
    return tuple(done)
