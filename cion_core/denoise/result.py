"""What every level hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.confidence import crop_identities
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.noise import Noise
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.tables import ACTIONS, LEVELS


@dataclass(frozen=True)
class Level:
    """The labelling after one level, and how it came about.

    An identity is named after the lowest-numbered tracklet in it. A part that was cut off from a
    tracklet has the number PART + its first crop, which is above all tracklets. Where videos came
    later, the lowest of those that were there first gives the name.

    Attributes:
        name: one of `tables.LEVELS`.
        labels: int64 [N], the identity of each crop that came in, -1 where it has none.
        ledger: a tables.Ledger, one row per crop that came in.
        thresholds: those that were used.
        before: the noise of the labelling that came in, at these thresholds.
        after: the noise of `labels`, at the same.
        calibration: how thresholds were found, by kind; empty if they were given.
        links: what was linked across videos; the last level alone has them.
    """

    name: str
    labels: np.ndarray
    ledger: pd.DataFrame
    thresholds: Thresholds
    before: Noise
    after: Noise
    calibration: dict[str, Calibration] = field(default_factory=dict)
    links: LinkRecord | None = None

    def audit(self, crops: pd.DataFrame) -> dict:
        """What audit.json holds; `crops` are those that the level was given."""
        has_identity = self.labels >= 0
        was_dropped = self.ledger.action == "dropped"
        curves = {name: asdict(curve) for name, curve in self.calibration.items()}
        return {
            "level": self.name,
            "crops": int(has_identity.sum()),
            "tracklets": int(crops.tracklet[has_identity].nunique()),
            "identities": self.after.identities,
            "radius": self.thresholds.radius,
            "separation": self.thresholds.separation,
            "cut": self.thresholds.cut,
            "noise": {"before": asdict(self.before), "after": asdict(self.after)},
            "actions": _count_words(self.ledger.action),
            "dropped_by": _count_words(self.ledger.rule[was_dropped]),
            "calibration": curves or None,
        }


def _count_words(words: pd.Series) -> dict[str, int]:
    """How often each word is there, by the alphabet."""
    counts = words.value_counts()
    return {word: int(counts[word]) for word in sorted(counts.index) if counts[word]}


@dataclass(frozen=True)
class Denoised:
    """All three levels of some crops, and what a later call needs to go on from them.

    Attributes:
        levels: in their order.
        crops: the columns that denoising knows, by crop number.
        settings: what the levels were run with.
        probed: int64 [P], numbers of crops by whose features the result is recognised later.
        probe: float32 [P, D], the features of those crops, of unit length.
    """

    levels: tuple[Level, Level, Level]
    crops: pd.DataFrame
    settings: Settings
    probed: np.ndarray
    probe: np.ndarray

    @property
    def identities(self) -> pd.DataFrame:
        """tables.Identities of the crops that have one."""
        return self._identities(self.levels[-1].labels)

    def at(self, confidence: float) -> pd.DataFrame:
        """The identities at another confidence. Nothing is linked again.

        Args:
            confidence: keep only links across videos that are right with at least this
                probability; 0 keeps them all.

        Returns:
            tables.Identities of the crops that have one.

        Raises:
            CionError: the links have no probabilities.
        """
        links = self.levels[-1].links
        within_videos = self.levels[-2].labels
        labels = crop_identities(within_videos, links.video_identity, links.at(confidence))
        return self._identities(labels)

    def _identities(self, labels: np.ndarray) -> pd.DataFrame:
        has_identity = labels >= 0
        crop = self.crops.crop[has_identity].to_numpy()
        return pd.DataFrame({"crop": crop, "identity": labels[has_identity]})

    @property
    def ledger(self) -> pd.DataFrame:
        """tables.Ledger over all three levels."""
        return join_ledgers(self.levels)

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
    """A tables.Ledger with a row for each crop.

    Args:
        crops: N of them; each other argument is [N], or one value for all.
        level: one of `tables.LEVELS`.
        action: what became of the crop, of `tables.ACTIONS`.
        other: the identity that it was compared with, -1: none.
        distance: to that.
        limit: the threshold that the distance was held against.
        rule: which rule decided.
        source: the identity before, column `from`.
        target: the identity after, column `to`, -1: none.
        probability: that a link is right; NaN where none was reckoned.
    """
    n = len(crops)
    level_code = np.full(n, LEVELS.index(level), np.int8)
    return pd.DataFrame(
        {
            "crop": crops.crop.to_numpy(np.int64),
            "level": pd.Categorical.from_codes(level_code, LEVELS),
            "action": pd.Categorical(action, categories=ACTIONS),
            "other": np.broadcast_to(np.int64(other), n).copy(),
            "distance": np.asarray(distance, np.float64),
            "limit": np.broadcast_to(np.float64(limit), n).copy(),
            "probability": np.broadcast_to(np.float64(probability), n).copy(),
            "rule": rule,
            "from": np.asarray(source, np.int64),
            "to": np.asarray(target, np.int64),
        }
    )


def join_ledgers(levels: Sequence[Level]) -> pd.DataFrame:
    """The ledgers of several levels, one after another."""
    ledgers = [level.ledger for level in levels]
    # concat would make text of categories that differ; rules of levels do.
    rule = union_categoricals([ledger.rule for ledger in ledgers])
    table = pd.concat([ledger.drop(columns="rule") for ledger in ledgers], ignore_index=True)
    table.insert(list(ledgers[0]).index("rule"), "rule", rule)
    return table
