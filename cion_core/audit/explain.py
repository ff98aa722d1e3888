"""Why is this crop here: its way through the levels, with distances, neighbours and thresholds.

The ledger holds data; `sentences` makes words of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.audit.nearby import Around, Group, shown
from cion_core.audit.sentences import sentence
from cion_core.denoise import stage, state
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Denoise, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows


@dataclass(frozen=True)
class Place:
    """Where a crop lies in its tracklet, by the distance to the centroid of all its crops.

    Attributes:
        distance: of the crop.
        rank: 1 is the farthest.
        of: how many crops the tracklet has.
        median: of their distances.
        largest: of their distances.
        shown: the crops of the tracklet nearest to that centroid.
    """

    distance: float
    rank: int
    of: int
    median: float
    largest: float
    shown: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What one level did with a crop, why, and what lies around.

    Attributes:
        level: one of `tables.LEVELS`.
        action: of `tables.ACTIONS`, or "not reached".
        reason: a sentence.
        distance: what the level measured, if anything.
        thresholds: of the level.
        before: the identity that came in, -1: none.
        after: the identity that the level left, -1: none.
        crops: how many crops that identity has.
        tracklets: likewise.
        videos: likewise.
        shown: the crops that show it best.
        place: where the crop lies in its tracklet; of the first level.
        parts: how many identities the level put together with the crop's.
        joined: the nearest of these.
        others: the nearest identities that the level left beside the crop's.
        adapted: distances are in a space that the linking rule adapts to the footage.
    """

    level: str
    action: str
    reason: str
    distance: float | None
    thresholds: Thresholds
    before: int
    after: int
    crops: int
    tracklets: int
    videos: int
    shown: tuple[int, ...]
    place: Place | None = None
    parts: int = 0
    joined: tuple[Group, ...] = ()
    others: tuple[Group, ...] = ()
    adapted: bool = False


@dataclass(frozen=True)
class Story:
    """A crop, where it was seen (column: value), and a step for every level."""

    crop: int
    seen: dict[str, object]
    steps: tuple[Step, ...]


class Teller:
    """Tells the way of crops through the levels. What all crops share is worked out once.

    Args:
        crops: N of them, as `checks.checked` returns them.
        features: [N, D], likewise.
        labels: int64 [N] after each level, by its name.
        ledgers: of each level, by its name.
        thresholds: likewise.
        links: of level 3.
        cannot_link: whether people seen together were kept apart.
    """

    def __init__(
        self,
        crops: pd.DataFrame,
        features: np.ndarray | Rows,
        labels: dict[str, np.ndarray],
        ledgers: dict[str, pd.DataFrame],
        thresholds: dict[str, Thresholds],
        links: LinkRecord,
        cannot_link: bool = True,
    ) -> None:
        self.crops, self.features, self.cannot_link = crops, features, cannot_link
        self.labels, self.ledgers, self.thresholds = labels, ledgers, thresholds
        self.links = links

    @cached_property
    def across(self) -> Around:
        """What level 3 looks at, in the space that it compares in."""
        before, after = self.labels["video"], self.labels["cross_video"]
        everything = np.arange(len(self.crops))
        return Around(
            self.crops, self.features, before, after, everything, self.cannot_link, self.links
        )

    def tell(self, crop: int) -> Story:
        """The way of one crop, by its number; CionError if there is no such crop."""
        row = self._row_of(crop)
        where = self.crops.iloc[row]
        tracklets = self.crops.tracklet.to_numpy(np.int64)
        after_first, after_second = self.labels["tracklet"], self.labels["video"]

        # Level 1 looks at the crop's tracklet, level 2 at its video, level 3 at all of them.
        mates = np.flatnonzero(tracklets == tracklets[row])
        place = _place(self.crops, self.features, mates, row)
        of_video = np.flatnonzero((self.crops.video == where.video).to_numpy())
        video = Around(
            self.crops, self.features, after_first, after_second, of_video, self.cannot_link
        )
        adapted = RULES.named(self.links.rule).adapts
        steps = (
            self._step("tracklet", tracklets, row, place=place),
            self._step("video", after_first, row, **video.of(row)),
            self._step("cross_video", after_second, row, adapted=adapted, **self.across.of(row)),
        )
        seen = {name: where[name] for name in ("video", "frame", "tracklet")}
        return Story(crop, seen, steps)

    def _row_of(self, crop: int) -> int:
        numbers = self.crops.crop.to_numpy()
        row = int(np.searchsorted(numbers, crop))
        if row == len(numbers) or numbers[row] != crop:
            valid = f"{numbers[0]} to {numbers[-1]}" if len(numbers) else "none"
            raise CionError(
                f"crop {crop}: no such crop; there are {len(numbers)}, with numbers {valid}"
            )
        return row

    def _step(self, level: str, before: np.ndarray, row: int, **around: object) -> Step:
        after = self.labels[level]
        action, reason, distance = self._decision(level, before, row)
        members = np.empty(0, np.int64)
        if after[row] >= 0:
            members = np.flatnonzero(after == after[row])
        of_identity = self.crops.iloc[members]
        return Step(
            level=level,
            action=action,
            reason=reason,
            distance=None if pd.isna(distance) else float(distance),
            thresholds=self.thresholds[level],
            before=int(before[row]),
            after=int(after[row]),
            crops=len(members),
            tracklets=int(of_identity.tracklet.nunique()),
            videos=int(of_identity.video.nunique()),
            shown=shown(self.crops, self.features, members),
            **around,
        )

    def _decision(self, level: str, before: np.ndarray, row: int) -> tuple[str, str, float]:
        """What the ledger says: action, reason as a sentence, distance."""
        crop = self.crops.crop.iloc[row]
        ledger = self.ledgers[level]
        entries = ledger[ledger.crop == crop]
        if len(entries):
            last = entries.iloc[-1]
            return last.action, sentence(last), last.distance
        if before[row] < 0:
            return "not reached", "it has no identity since the levels before", np.nan
        raise CionError(f"crop {crop}: the ledger of {level} says nothing of it; denoise again")


def read(p: Denoise, root: Path = Path("data")) -> Teller:
    """A `Teller` of the files of the stages; CionError names a file that is missing."""
    crops, features = stage.read_crops(root)
    labels, ledgers, thresholds = {}, {}, {}
    for level in tables.LEVELS:
        labels[level] = stage.labels_after(crops, root, level)
        ledgers[level] = tables.read(tables.Ledger, root / "denoise" / level / "ledger.parquet")
        thresholds[level] = stage.read_thresholds(root, level)
    links = state.read_links(root / "denoise/cross_video/links.npz")
    return Teller(crops, features, labels, ledgers, thresholds, links, p.cannot_link)


def run(crop: int, p: Denoise, root: Path = Path("data")) -> Story:
    """The way of one crop by the files of the stages, with the second and the shard it lies in."""
    story = read(p, root).tell(crop)
    path = root / "tracklets/crops.parquet"
    columns = ["video", "frame", "time_s", "tracklet", "shard"]
    where = pd.read_parquet(path, columns=columns, filters=[("crop", "==", crop)])
    return replace(story, seen=where.iloc[0].to_dict())


def _place(crops: pd.DataFrame, features: np.ndarray | Rows, mates: np.ndarray, row: int) -> Place:
    """Where the crop in `row` lies among all crops of its tracklet, which lie in `mates`."""
    values = features[mates]
    centroid = arrays.unit(values.sum(0, keepdims=True))[0]
    distances = np.maximum(1 - values @ centroid, 0)
    own = float(distances[mates == row][0])
    return Place(
        distance=own,
        rank=int((distances > own).sum()) + 1,
        of=len(mates),
        median=float(np.median(distances)),
        largest=float(distances.max()),
        shown=shown(crops, features, mates),
    )
