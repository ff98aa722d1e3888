"""Who is on which crop: three denoising levels, and one call that runs them all on arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cion_core.denoise.settings import Settings, Thresholds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from cion_core.denoise.result import Denoised, Level

__all__ = ["Denoised", "Level", "Settings", "Thresholds", "denoise"]


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    settings: Settings | None = None,
    *,
    earlier: Denoised | None = None,
    saved: Path | None = None,
) -> Denoised:
    """All three levels: crops and their features in, one identity per kept crop out.

    crops: crop, video, frame, tracklet (shot tells where a video is cut: each shot counts as a video of its own; x1 y1
    x2 y2 tell duplicate detections from two people, and, with confidence and sharpness, how much a crop counts across
    videos: `quality.weights`; the rest is ignored);
    features: [N, D], row i of crops, of any scale. settings None: all by default; thresholds that are "auto" are found
    from the data, reckoning with a share of `false_link_rate` strange crops at least (and, across videos, as the
    linking rule says); a range of "auto" holds as many identities at once as this machine's memory does, which mostly
    is all. earlier: the result for some of these videos, which is not made anew: the others are denoised at its
    thresholds and linked to its identities, which keep their numbers, but of several that become one the lowest stays
    (`cross_video.extend`); settings of thresholds must then be "auto", and the range and false_link_rate have no say.
    saved: a file (.npz) from which a killed call goes on with linking, after its last finished position of the Sliding
    Range. The result does not depend on the order of rows; no crops give an empty result. Raises CionError naming the
    rows that cannot be used.
    """
    from cion_core.denoise import incremental, pipeline  # here alone: most who import this want the settings
    from cion_core.denoise.checks import checked
    from cion_core.denoise.result import Denoised

    settings = settings or Settings()
    if earlier is not None and len(earlier.identities):
        return incremental.denoise(crops, features, earlier, settings)
    table, unit = checked(crops, features)
    levels = pipeline.run(table, unit, settings, saved)
    return Denoised(levels, table, settings, *incremental.probe(table, unit))


def __getattr__(name: str) -> object:
    """`Denoised` and `Level`, which need pandas and more, are imported when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from cion_core.denoise import result

    return getattr(result, name)
