"""What every level hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise.calibration import Calibration
from cion_core.denoise.noise import Measured, Noise
from cion_core.denoise.linking.space import Space
from cion_core.tables import ACTIONS, LEVELS

CODE = sorted(Path(__file__).parent.glob("*.py"))  # what other code left is not gone on from


@dataclass(frozen=True)
class Links:
    """What level 3 keeps for videos that come later, of its n nodes: the identities of level 2 in their order.

    names int64 [n]: those identities; identity int64 [n]: of level 3; points float32 [n, D]: their centroids as they
    were compared; forbidden: bool [n, n], who can never be one. Reciprocal linking alone: index int32 [n, k+1], the
    neighbours of each, and the space in which the points lie.
    """

    names: np.ndarray
    identity: np.ndarray
    points: np.ndarray
    forbidden: sparse.csr_matrix
    index: np.ndarray | None = None
    space: Space | None = None


@dataclass(frozen=True)
class Level:
    """The labelling after one level, and how it came about.

    labels: int64 [N], the identity of each crop that came in, -1 where it has none. An identity is named after the
    lowest-numbered tracklet in it; where videos came later, after the lowest of those that were there first. ledger:
    one row per crop that came in. noise: the thresholds that were used. before, after: the noise of the labelling at
    those thresholds. calibration: how they were found, if they were. links: of level 3.
    """

    name: str
    labels: np.ndarray
    ledger: pd.DataFrame
    noise: Noise
    before: Measured
    after: Measured
    calibration: dict[str, Calibration] = field(default_factory=dict)
    links: Links | None = None

    def audit(self, crops: pd.DataFrame) -> dict:
        """Everything that audit.json holds but the truth; `crops` are those that the level was given."""
        kept = self.labels >= 0
        actions = self.ledger.action.value_counts()
        return {
            "level": self.name,
            "crops": int(kept.sum()),
            "tracklets": int(crops.tracklet[kept].nunique()),
            "identities": self.after.identities,
            "radius": self.noise.radius,
            "separation": self.noise.separation,
            "noise": {"before": asdict(self.before), "after": asdict(self.after)},
            "actions": {k: int(actions[k]) for k in sorted(actions.index) if actions[k]},
            "calibration": {name: asdict(curve) for name, curve in self.calibration.items()} or None,
        }


@dataclass(frozen=True)
class Denoised:
    """All three levels of some crops, and what a later call needs to go on from them.

    crops: the columns that denoising knows, by crop number; settings: what the levels were run with but thresholds;
    probe float32 [P, D]: unit features of the crops `probed` (numbers, int64 [P]), to know them by.
    """

    levels: tuple[Level, Level, Level]
    crops: pd.DataFrame
    settings: dict
    probed: np.ndarray
    probe: np.ndarray

    @property
    def identities(self) -> pd.DataFrame:
        """tables.Identities of the crops that have one."""
        labels = self.levels[-1].labels
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
    reason: np.ndarray | pd.Categorical,
    distance: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
) -> pd.DataFrame:
    """A tables.Ledger of one row per crop. What is text is held as a category: few texts are said of many crops."""
    n, reason = len(crops), pd.Categorical(reason)
    reason = reason.rename_categories(reason.categories.astype("str"))
    return pd.DataFrame({
        "crop": crops.crop.to_numpy(np.int64),
        "level": pd.Categorical.from_codes(np.full(n, LEVELS.index(level), np.int8), LEVELS),
        "action": pd.Categorical(action, categories=ACTIONS), "reason": reason,
        "distance": np.asarray(distance, np.float64), "from": np.asarray(source, np.int64),
        "to": np.asarray(target, np.int64),
    })  # fmt: skip


def joined(levels: Sequence[Level]) -> pd.DataFrame:
    """The ledgers of several levels, one after another."""
    ledgers = [level.ledger for level in levels]
    codes, texts = stacked([ledger.reason for ledger in ledgers])
    table = pd.concat([ledger.drop(columns="reason") for ledger in ledgers], ignore_index=True)
    table.insert(3, "reason", worded(codes, texts))
    return table


def stacked(reasons: Sequence[pd.Series]) -> tuple[np.ndarray, pd.Index]:
    """Columns of texts held as categories, one after another: the number of each row's text, and the texts."""
    first = np.cumsum([0] + [len(reason.cat.categories) for reason in reasons])
    codes = [reason.cat.codes.to_numpy(np.int64) + start for reason, start in zip(reasons, first, strict=False)]
    texts = [reason.cat.categories for reason in reasons]
    return np.concatenate(codes), texts[0].append(texts[1:])


def worded(codes: np.ndarray, texts: pd.Index) -> pd.Categorical:
    """Texts by their numbers as categories: equal ones are one, and those of no row are left out."""
    used = np.bincount(codes, minlength=len(texts)) > 0
    place, names = pd.factorize(texts[used])
    new = np.full(len(texts), -1)
    new[used] = place
    return pd.Categorical.from_codes(new[codes], names)


def thousandths(distance: np.ndarray) -> np.ndarray:
    """What `:.3f` prints, as whole thousandths, int64; -1 for NaN. Exact for numbers that are float32."""
    return np.nan_to_num(np.rint(np.asarray(distance, np.float64) * 1000), nan=-1).astype(np.int64)


def phrased(phrase: Callable[..., str], *columns: np.ndarray) -> pd.Categorical:
    """phrase(*row) of each row of whole numbers; a text is made and held once, however many rows it is said of."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, names = pd.factorize(column)
        code = pd.factorize(code * len(names) + values)[0]
    some = np.empty(code.max(initial=-1) + 1, np.int64)  # a row of each kind
    some[code] = np.arange(len(code))
    texts = [phrase(*row) for row in zip(*(column[some].tolist() for column in columns), strict=True)]
    return worded(code, pd.Index(texts, dtype="str"))
