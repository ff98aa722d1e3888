"""The three levels, one after another: the one way to denoise crops, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import cross_video, single_video, tracklet
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Settings
from cion_core.neighbours.rows import Rows

# In order. Each takes (crops, features, labels, settings, saved), where labels are those that the
# level before it left.
LEVELS: dict[str, Callable[..., Level]] = {
    "tracklet": tracklet.denoise_tracklets,
    "video": single_video.denoise_videos,
    "cross_video": cross_video.link_videos,
}


def run_level(
    name: str,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Run one level.

    Args:
        name: of the level, one of LEVELS.
        crops: N of them, as `checks.checked` returns them.
        features: [N, D], likewise.
        labels: int64 [N], what the level before it left (tracklets for the first), -1: none.
        settings: of all levels.
        saved: a file (.npz) from which killed linking goes on.
    """
    return LEVELS[name](crops, features, labels, settings, saved)


def run(
    crops: pd.DataFrame, features: np.ndarray | Rows, settings: Settings, saved: Path | None = None
) -> tuple[Level, Level, Level]:
    """Run all levels. Arguments are as for `run_level`."""
    labels = crops.tracklet.to_numpy(np.int64)
    done = []
    for name in LEVELS:
        level = run_level(name, crops, features, labels, settings, saved)
        done.append(level)
        labels = level.labels
    return tuple(done)
