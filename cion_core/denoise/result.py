"""What every level hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.confidence import crop_identities
from cion_core.denoise.linking.nodes import Links
from cion_core.denoise.noise import Noise
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.tables import ACTIONS, LEVELS


@dataclass(frozen=True)
class Level:
    """The labelling after one level, and how it came about.

    labels: int64 [N], the identity of each crop that came in, -1 where it has none. An identity is named after the
    lowest-numbered tracklet in it (part of one: PART and a crop, which comes after all tracklets); where videos came
    later, after the lowest of those that were there first. ledger:
    one row per crop that came in. thresholds: those that were used; before, after: the noise of the labelling at them;
    calibration: how they were found, if they were. links: of level 3.
    """

    name: str
    labels: np.ndarray
    ledger: pd.DataFrame
    thresholds: Thresholds
    before: Noise
    after: Noise
    calibration: dict[str, Calibration] = field(default_factory=dict)
    links: Links | None = None

    def audit(self, crops: pd.DataFrame) -> dict:
        """What audit.json holds; `crops` are those that the level was given."""
        kept = self.labels >= 0
        actions = self.ledger.action.value_counts()
        return {
            "level": self.name,
            "crops": int(kept.sum()),
            "tracklets": int(crops.tracklet[kept].nunique()),
            "identities": self.after.identities,
            "radius": self.thresholds.radius,
            "separation": self.thresholds.separation,
            "cut": self.thresholds.cut,
            "noise": {"before": asdict(self.before), "after": asdict(self.after)},
            "actions": {k: int(actions[k]) for k in sorted(actions.index) if actions[k]},
            "calibration": {name: asdict(curve) for name, curve in self.calibration.items()} or None,
        }


@dataclass(frozen=True)
class Denoised:
    """All three levels of some crops, and what a later call needs to go on from them.

    crops: the columns that denoising knows, by crop number; settings: what the levels were run with; probe float32
    [P, D]: unit features of the crops `probed` (numbers, int64 [P]), to know them by.
    """

    levels: tuple[Level, Level, Level]
    crops: pd.DataFrame
    settings: Settings
    probed: np.ndarray
    probe: np.ndarray

    @property
    def identities(self) -> pd.DataFrame:
        """tables.Identities of the crops that have one."""
        return self._table(self.levels[-1].labels)

    def at(self, confidence: float) -> pd.DataFrame:
        """tables.Identities if only links across videos that are right with at least this probability had been made;
        0: as `identities`. Nothing is linked again. CionError where the links have no probabilities."""
        links = self.levels[-1].links
        return self._table(crop_identities(self.levels[-2].labels, links.names, links.at(confidence)))

    def _table(self, labels: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"crop": self.crops.crop[labels >= 0].to_numpy(), "identity": labels[labels >= 0]})

    @property
    def ledger(self) -> pd.DataFrame:
        """tables.Ledger over all three levels."""
        return joined(self.levels)

    @property
    def audit(self) -> dict[str, dict]:
        """For each level its thresholds, noise before and after, and counts of actions."""
        return {level.name: level.audit(self.crops) for level in self.levels}


def ledger(
    crops: pd.DataFrame,
    level: str,
    action: np.ndarray | pd.Categorical,
    other: np.ndarray | int,
    distance: np.ndarray,
    limit: np.ndarray | float,
    rule: pd.Categorical,
    source: np.ndarray,
    target: np.ndarray,
    probability: np.ndarray | float = np.nan,
) -> pd.DataFrame:
    """A tables.Ledger of one row per crop; one number stands for a column of it."""
    n = len(crops)
    return pd.DataFrame({
        "crop": crops.crop.to_numpy(np.int64),
        "level": pd.Categorical.from_codes(np.full(n, LEVELS.index(level), np.int8), LEVELS),
        "action": pd.Categorical(action, categories=ACTIONS),
        "other": np.broadcast_to(np.int64(other), n).copy(),
        "distance": np.asarray(distance, np.float64),
        "limit": np.broadcast_to(np.float64(limit), n).copy(),
        "probability": np.broadcast_to(np.float64(probability), n).copy(),
        "rule": rule, "from": np.asarray(source, np.int64), "to": np.asarray(target, np.int64),
    })  # fmt: skip


def joined(levels: Sequence[Level]) -> pd.DataFrame:
    """The ledgers of several levels, one after another."""
    ledgers = [level.ledger for level in levels]
    table = pd.concat([ledger.drop(columns="rule") for ledger in ledgers], ignore_index=True)
    table.insert(list(ledgers[0]).index("rule"), "rule", union_categoricals([ledger.rule for ledger in ledgers]))
    return table
