"""Why is this crop here: its way through the levels, with distances, neighbours and thresholds.

The ledger holds data. The sentences that people read are made here, wherever they are shown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.audit.nearby import NEAR, Around, Group, shown
from cion_core.denoise import stage, state
from cion_core.denoise.linking.nodes import Links
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Denoise, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows

MARKS = dict(zip(tables.LEVELS, "①②③", strict=True))
WITHIN = {  # levels 1 and 2, by action and rule
    "tracklet": {
        ("kept", "radius"): "{0.distance:.3f} from its tracklet's other crops, within radius {0.limit:.3f}",
        ("dropped", "radius"): "{0.distance:.3f} from its tracklet's other crops, beyond radius {0.limit:.3f}",
        ("cut", "switch"): (
            "cut off from tracklet {0.other}: from here on it shows somebody else, by {0.distance:.3f} where "
            "{0.limit:.3f} is enough"
        ),
        ("dropped", "min_crops"): "fewer than {0.limit:.0f} of its tracklet's crops are left",
    },
    "video": {
        ("kept", "radius"): "{0.distance:.3f} from its identity's other crops; it stays where its tracklet is",
        ("dropped", "radius"): "{0.distance:.3f} from its identity's other crops, beyond radius {0.limit:.3f}",
        ("dropped", "no_home"): (
            "no identity of its video within radius {0.limit:.3f} and clear of the next may take it"
        ),
        ("moved", "radius"): "{0.distance:.3f} from the centroid of identity {0.other}, within radius {0.limit:.3f}",
        ("merged", "separation"): (
            "merged with identity {0.other}: alike beyond what is common in the video, {0.distance:.3f} apart, below "
            "{0.limit:.3f}"
        ),
    },
}
ACROSS = {  # level 3, by action; the linking rule says what it compares
    "kept": "identity {0.to}: no other within {0.limit:.3f} may be the same",
    "linked": (
        "linked with identity {0.other}: {compares} {0.distance:.3f} apart, below {0.limit:.3f}{sure}; "
        "now identity {0.to}"
    ),
}


def sentence(row: Any) -> str:
    """What a row of the ledger says, in words; `row` has tables.Ledger's columns as attributes (`DataFrame.iloc`,
    `itertuples`)."""
    if row.level == tables.LEVELS[-1]:
        return ACROSS[row.action].format(row, compares=RULES.named(row.rule).compares, sure=sure(row.probability))
    return WITHIN[row.level][row.action, row.rule].format(row)


def sure(probability: float) -> str:
    """How often links are right that are right with this probability, as the end of a clause; nothing of NaN."""
    if pd.isna(probability):
        return ""
    tenths = round(10 * probability)
    often = {0: "hardly ever", 10: "nearly always"}.get(tenths, f"in about {tenths} of 10 cases")
    return f" (such links are right {often})"


@dataclass(frozen=True)
class Place:
    """Where a crop lies in its tracklet: its distance to the centroid of all, its rank (1: farthest), its mates'.

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
    """What one level did, why (a sentence), and what lies around.

    before, after: identity (-1: none), and of the latter how many crops, tracklets and videos it has, and the crops
    that show it best. joined: the identities of before that the level put together with the crop's, nearest first,
    NEAR of `parts`. others: the nearest identities of after that are not the crop's. adapted: distances are between
    centroids in a space that the linking rule adapts to the footage.
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
    """Tells the way of crops through the levels; what does not depend on the crop is worked out once.

    crops, features as `checks.checked` returns them. For each level by name: labels int64 [N] after it, its ledger
    and its thresholds. links: of level 3. cannot: whether people seen together were kept apart.
    """

    def __init__(
        self,
        crops: pd.DataFrame,
        features: np.ndarray | Rows,
        labels: dict[str, np.ndarray],
        ledgers: dict[str, pd.DataFrame],
        thresholds: dict[str, Thresholds],
        links: Links,
        cannot: bool = True,
    ) -> None:
        self.crops, self.features, self.cannot = crops, features, cannot
        self.labels, self.ledgers, self.thresholds = labels, ledgers, thresholds
        self.links = links

    @cached_property
    def across(self) -> Around:
        """What level 3 looks at, in the space that it compares in."""
        before, after = self.labels["video"], self.labels["cross_video"]
        everything = np.arange(len(self.crops))
        return Around(self.crops, self.features, before, after, everything, self.cannot, self.links)

    def tell(self, crop: int) -> Story:
        """The way of one crop; raises CionError on a crop that is not there."""
        numbers = self.crops.crop.to_numpy()
        row = int(np.searchsorted(numbers, crop))
        if row == len(numbers) or numbers[row] != crop:
            valid = f"{numbers[0]} to {numbers[-1]}" if len(numbers) else "none"
            raise CionError(f"crop {crop}: no such crop; there are {len(numbers)}, with numbers {valid}")
        tracklets, first, second = self.crops.tracklet.to_numpy(np.int64), self.labels["tracklet"], self.labels["video"]
        here = np.flatnonzero((self.crops.video == self.crops.video.iloc[row]).to_numpy())
        video = Around(self.crops, self.features, first, second, here, self.cannot)
        place = _place(self.crops, self.features, np.flatnonzero(tracklets == tracklets[row]), row)
        adapted = RULES.named(self.links.rule).adapts
        steps = (
            self._step("tracklet", tracklets, row, place=place),
            self._step("video", first, row, **video.of(row)),
            self._step("cross_video", second, row, adapted=adapted, **self.across.of(row)),
        )
        where = self.crops.iloc[row]
        return Story(crop, {name: where[name] for name in ("video", "frame", "tracklet")}, steps)

    def _step(self, level: str, before: np.ndarray, row: int, **around: object) -> Step:
        crops, after, ledger = self.crops, self.labels[level], self.ledgers[level]
        told = ledger[ledger.crop == crops.crop.iloc[row]]
        members = np.flatnonzero(after == after[row]) if after[row] >= 0 else np.empty(0, np.int64)
        if len(told):
            last = told.iloc[-1]
            action, reason, distance = last.action, sentence(last), last.distance
        elif before[row] < 0:
            action, reason, distance = "not reached", "it has no identity since the levels before", np.nan
        else:
            raise CionError(f"crop {crops.crop.iloc[row]}: the ledger of {level} says nothing of it; denoise again")
        return Step(
            level=level, action=action, reason=reason, distance=None if pd.isna(distance) else float(distance),
            thresholds=self.thresholds[level], before=int(before[row]), after=int(after[row]), crops=len(members),
            tracklets=int(crops.tracklet.iloc[members].nunique()), videos=int(crops.video.iloc[members].nunique()),
            shown=shown(crops, self.features, members), **around,
        )  # fmt: skip


def read(p: Denoise, root: Path = Path("data")) -> Teller:
    """A `Teller` of the files of the stages; CionError names the one that is missing."""
    crops, features = stage.read_crops(root)
    labels, ledgers, thresholds = {}, {}, {}
    for level in tables.LEVELS:
        labels[level] = stage.read_result(crops, root, level)
        ledgers[level] = tables.read(tables.Ledger, root / "denoise" / level / "ledger.parquet")
        thresholds[level] = stage.read_thresholds(root, level)
    links = state.read_links(root / "denoise/cross_video/links.npz")
    return Teller(crops, features, labels, ledgers, thresholds, links, p.cannot_link)


def run(crop: int, p: Denoise, root: Path = Path("data")) -> Story:
    """The way of one crop by the files of the stages, with the second and the shard that it lies in."""
    story = read(p, root).tell(crop)
    columns = ["video", "frame", "time_s", "tracklet", "shard"]
    where = pd.read_parquet(root / "tracklets/crops.parquet", columns=columns, filters=[("crop", "==", crop)])
    return replace(story, seen=where.iloc[0].to_dict())


def text(story: Story) -> str:
    """The story for a terminal."""
    seen = {name: f"{v:.1f} s" if name == "time_s" else v for name, v in story.seen.items()}
    lines = [f"crop {story.crop}: " + ", ".join(f"{name.removesuffix('_s')} {v}" for name, v in seen.items())]
    for step in story.steps:
        limits = asdict(step.thresholds)
        told = ", ".join(f"{name} {value:.3f}" for name, value in limits.items() if value is not None)
        lines += ["", f"{MARKS[step.level]} {step.level}: {step.action}" + (f" ({told})" if told else "")]
        lines.append(f"  {step.reason}")
        if step.place:
            lines.append(
                f"  {step.place.distance:.3f} from the centroid of all {step.place.of} crops of its tracklet: number "
                f"{step.place.rank} from far, median {step.place.median:.3f}, largest {step.place.largest:.3f}"
            )
        where = " (in the space that linking adapts to the footage)" if step.adapted else ""
        if step.joined:
            told = ", ".join(f"{g.identity} at {g.distance:.3f}" for g in step.joined)
            more = f" and {step.parts - NEAR} more" if step.parts > NEAR else ""
            lines.append(f"  put together with identity {told}{more}{where}")
        if step.others:
            lines.append(f"  nearest of those it was not put with{where}:")
        for g in step.others:
            why_not = ", seen together: two people" if g.forbidden else ""
            lines.append(f"    identity {g.identity} at {g.distance:.3f}, {counted(g.crops, 'crop')}{why_not}")
        lines.append(f"  identity {_name(step.before)} → {_name(step.after)}" + (
            f": {counted(step.crops, 'crop')}, {counted(step.tracklets, 'tracklet')}, {counted(step.videos, 'video')}"
            if step.after >= 0 else ""))  # fmt: skip
    return "\n".join(lines)


def _place(crops: pd.DataFrame, features: np.ndarray | Rows, mates: np.ndarray, row: int) -> Place:
    """Of the crop among all crops of its tracklet, which lie in the rows `mates`."""
    values = features[mates]
    far = np.maximum(1 - values @ arrays.unit(values.sum(0, keepdims=True))[0], 0)
    own = float(far[mates == row][0])
    rank, median, largest = int((far > own).sum()) + 1, float(np.median(far)), float(far.max())
    return Place(own, rank, len(mates), median, largest, shown(crops, features, mates))


def _name(identity: int) -> str:
    return str(identity) if identity >= 0 else "none"


def counted(count: int, what: str) -> str:
    """1 crop, 2 crops."""
    return f"{count} {what}{'' if count == 1 else 's'}"
