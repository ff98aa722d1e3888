"""The three denoising levels (DESIGN §4), and one call that runs them all on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise import cross_video, single_video, tracklet
from cion_core.denoise.checks import checked
from cion_core.denoise.level import Level, joined
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError
from cion_core.tables import LEVELS

__all__ = ["Denoised", "Level", "Noise", "denoise"]


@dataclass(frozen=True)
class Denoised:
    """identities: tables.Identities of the crops that have one; ledger: tables.Ledger over all three levels;
    audit: for each level its thresholds, noise before and after, and counts of actions."""

    identities: pd.DataFrame
    ledger: pd.DataFrame
    audit: dict[str, dict]
    levels: tuple[Level, Level, Level]


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
) -> Denoised:
    """All three levels: crops and their features in, one identity per kept crop out.

    crops: crop, video, frame, tracklet (x1 y1 x2 y2 tell duplicate detections from two people; the rest is ignored);
    features: [N, D], row i of crops, of any scale. noise: thresholds, one for all levels or by level name; None, or
    None in it: calibrated, so that `false_link_rate` wrong decisions are expected per tracklet on levels 1 and 2 and
    in published linking; reciprocal linking goes as far as most links are right. sliding_range None: everything at
    once. min_crops: a tracklet with fewer left is dropped. centre: take off each video's mean before reciprocal
    linking. The result does not depend on the order of rows; no crops give an empty result. Raises CionError naming
    the rows that cannot be used.
    """
    table, unit = checked(crops, features)
    limits = noise if isinstance(noise, dict) else dict.fromkeys(LEVELS, noise)
    strange = [name for name in limits if name not in LEVELS]
    if strange:
        raise CionError(f"noise: no level {', '.join(map(repr, strange))}; levels are {', '.join(LEVELS)}")
    limits = {name: limits.get(name) or Noise() for name in LEVELS}
    one = tracklet.denoise(table, unit, limits["tracklet"].radius, min_crops, false_link_rate, cannot_link)
    two = single_video.denoise(table, unit, one.labels, limits["video"], cannot_link, false_link_rate)
    three = cross_video.denoise(
        table, unit, two.labels, limits["cross_video"], linking, sliding_range, stride, cannot_link, centre,
        false_link_rate,
    )  # fmt: skip
    levels = (one, two, three)
    kept = three.labels >= 0
    return Denoised(
        identities=pd.DataFrame({"crop": table.crop[kept].to_numpy(), "identity": three.labels[kept]}),
        ledger=joined(levels),
        audit={level.name: level.audit(table) for level in levels},
        levels=levels,
    )
