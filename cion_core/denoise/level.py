"""What every level hands back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from cion_core.denoise.calibrate import Calibration
from cion_core.denoise.noise import Measured, Noise


@dataclass(frozen=True)
class Level:
    """The labelling after one level, and how it came about.

    labels: int64 [N], the identity of each crop that came in, -1 where it has none. An identity is named after the
    lowest-numbered tracklet in it. ledger: one row per crop that came in. noise: the thresholds that were used.
    before, after: the noise of the labelling at those thresholds. calibration: how they were found, if they were.
    """

    name: str
    labels: np.ndarray
    ledger: pd.DataFrame
    noise: Noise
    before: Measured
    after: Measured
    calibration: dict[str, Calibration] = field(default_factory=dict)

    def audit(self, crops: pd.DataFrame) -> dict:
        """Everything that audit.json holds but the truth; `crops` are those that the level was given."""
        kept = self.labels >= 0
        return {
            "level": self.name,
            "crops": int(kept.sum()),
            "tracklets": int(crops.tracklet[kept].nunique()),
            "identities": self.after.identities,
            "radius": self.noise.radius,
            "separation": self.noise.separation,
            "noise": {"before": asdict(self.before), "after": asdict(self.after)},
            "actions": {str(k): int(v) for k, v in self.ledger.action.value_counts().sort_index().items()},
            "calibration": {name: asdict(curve) for name, curve in self.calibration.items()} or None,
        }


def ledger(
    crops: pd.DataFrame,
    level: str,
    action: np.ndarray,
    reason: np.ndarray,
    distance: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
) -> pd.DataFrame:
    """A tables.Ledger of one row per crop."""
    return pd.DataFrame({
        "crop": crops.crop.to_numpy(np.int64), "level": level, "action": action, "reason": reason,
        "distance": np.asarray(distance, np.float64), "from": np.asarray(source, np.int64),
        "to": np.asarray(target, np.int64),
    })  # fmt: skip
