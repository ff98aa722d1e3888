"""The three denoising levels (DESIGN §4), and one call that runs them all on arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import cross_video, incremental, single_video, tracklet
from cion_core.denoise.linking import sliding_range as sliding
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Denoised, Level
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError
from cion_core.tables import LEVELS

__all__ = ["Denoised", "Level", "Noise", "denoise"]


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    noise: Noise | dict[str, Noise] | None = None,
    linking: str = "reciprocal",
    sliding_range: int | None = None,
    stride: int | None = None,
    cannot_link: bool = True,
    *,
    false_link_rate: float = 0.05,
    min_crops: int = 1,
    centre: bool = True,
    earlier: Denoised | None = None,
    saved: Path | None = None,
) -> Denoised:
    """All three levels: crops and their features in, one identity per kept crop out.

    crops: crop, video, frame, tracklet (x1 y1 x2 y2 tell duplicate detections from two people; the rest is ignored);
    features: [N, D], row i of crops, of any scale. noise: thresholds, one for all levels or by level name; None, or
    None in it: calibrated, so that `false_link_rate` wrong decisions are expected per tracklet on levels 1 and 2 and
    in published linking; reciprocal linking goes as far as most links are right. sliding_range None: as many
    identities at once as this machine's memory holds, which mostly is all. min_crops: a tracklet with fewer left is
    dropped. centre: take off each video's mean before reciprocal linking. earlier: the result for some of these
    videos, which is not made anew: the others are denoised at its thresholds and linked to its identities, which keep
    their numbers, but of several that become one the lowest stays (`cross_video.extend`); noise, the range and
    false_link_rate have no say then. saved: a file (.npz) from
    which a killed call goes on with linking, after its last finished position of the Sliding Range. The result does
    not depend on the order of rows; no crops give an empty result. Raises CionError naming the rows that cannot be
    used.
    """
    settings = {"linking": linking, "cannot_link": cannot_link, "min_crops": min_crops, "centre": centre}
    if earlier is not None and len(earlier.identities):
        if noise not in (None, Noise()):
            raise CionError("noise: with an earlier result the thresholds are those that it went by; give none")
        return incremental.denoise(crops, features, earlier, settings)
    table, unit = checked(crops, features)
    limits = noise if isinstance(noise, dict) else dict.fromkeys(LEVELS, noise)
    strange = [name for name in limits if name not in LEVELS]
    if strange:
        raise CionError(f"noise: no level {', '.join(map(repr, strange))}; levels are {', '.join(LEVELS)}")
    limits = {name: limits.get(name) or Noise() for name in LEVELS}
    one = tracklet.denoise(table, unit, limits["tracklet"].radius, min_crops, false_link_rate, cannot_link)
    two = single_video.denoise(table, unit, one.labels, limits["video"], cannot_link, false_link_rate)
    three = cross_video.denoise(
        table, unit, two.labels, limits["cross_video"], linking, sliding_range or sliding.fitting(unit.shape[1]),
        stride, cannot_link, centre, false_link_rate, saved,
    )  # fmt: skip
    return Denoised((one, two, three), table, settings, *incremental.probe(table, unit))
