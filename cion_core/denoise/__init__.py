"""Who is on which crop: three denoising levels, and one call that runs them all on arrays.

Throughout this room: `features` float32 [N, D] of unit length, an array or `rows.Rows`; `labels`
int64 [N], the identity of each crop, -1 where it has none; distances are cosine distances 1 - a·b;
an identity's centroid is the unit-length mean of its features.
"""

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
    """Run all three levels: crops and their features in, one identity for each kept crop out.

    Thresholds that are "auto" are found from the data (`Settings` says by what assumption). The
    result does not depend on the order of rows. No crops give an empty result.

    Args:
        crops: columns crop, video, frame, tracklet. With `shot`, each shot of a video counts as a
            video of its own. With boxes (x1 y1 x2 y2), duplicate detections are told from two
            people. With `quality` (0 to 1), a crop counts so much across videos; without it,
            that is found from boxes, `confidence` and `sharpness`, as far as they are there
            (`crop_weights.weights_of`). Other columns are ignored.
        features: [N, D], row i that of row i of `crops`; of any length.
        settings: None takes the defaults.
        earlier: the result for some of these videos. They are not denoised again. The others are,
            at its thresholds, and are linked to its identities, which keep their numbers; where
            several become one, the lowest stays (`cross_video.extend`). Thresholds in `settings`
            must be "auto" then, and `range` and `false_link_rate` are not used.
        saved: a file (.npz). A call that was killed goes on from it, after the last position of the
            Sliding Range that was finished.

    Returns:
        The levels, and the identities after the last.

    Raises:
        CionError: some rows cannot be used; it names them.
    """
    # Imported here: most who import this module want the settings alone.
    from cion_core.denoise import incremental, pipeline
    from cion_core.denoise.checks import checked
    from cion_core.denoise.result import Denoised

    settings = settings or Settings()
    if earlier is not None and len(earlier.identities):
        return incremental.denoise_new_videos(crops, features, earlier, settings)
    table, unit = checked(crops, features)
    levels = pipeline.run(table, unit, settings, saved)
    return Denoised(levels, table, settings, *incremental.take_probe(table, unit))


def __getattr__(name: str) -> object:
    """`Denoised` and `Level`, which need pandas and more, are imported when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from cion_core.denoise import result

    return getattr(result, name)
