"""How pure and how whole tracklets are, against the truth of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pandas as pd

from cion_core.audit import scores


@dataclass(frozen=True)
class Counts:
    """What shares are made of; sums over sequences are counts as well.

    Attributes:
        true_boxes: Boxes of the truth in the frames that were looked at.
        found_boxes: Of these, those that a tracklet's box covers.
        shown_boxes: Boxes of tracklets that show somebody of the truth.
        main_boxes: Of these, those that show whom their tracklet shows most.
        tracklets: Tracklets that show somebody.
        mixed_tracklets: Of these, those that show more than one person.
        people: People whom some tracklet shows most.
    """

    true_boxes: int = 0
    found_boxes: int = 0
    shown_boxes: int = 0
    main_boxes: int = 0
    tracklets: int = 0
    mixed_tracklets: int = 0
    people: int = 0

    def __add__(self, other: Self) -> Self:
        names = [field.name for field in fields(self)]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def recall(self) -> float:
        """Share of the truth that is in a tracklet."""
        return self.found_boxes / max(self.true_boxes, 1)

    @property
    def purity(self) -> float:
        """Share of the boxes of people that show their tracklet's main person; of none it is 1."""
        return self.main_boxes / self.shown_boxes if self.shown_boxes else 1.0

    @property
    def mixed(self) -> float:
        """Share of the tracklets that show more than one person."""
        return self.mixed_tracklets / max(self.tracklets, 1)

    @property
    def fragments(self) -> float:
        """Tracklets for each person who has any."""
        return self.tracklets / max(self.people, 1)


def count(tracked: pd.DataFrame, truth: pd.DataFrame) -> Counts:
    """Compare the tracklets of a sequence with its truth.

    A box shows the person whose true box it overlaps most, by an IoU of at least 0.5.

    Args:
        tracked: frame, tracklet, x1, y1, x2, y2 of each box.
        truth: frame, person, x1, y1, x2, y2 of each true box.

    Example:
        Tracklet 1 shows Ann in 8 frames and then Bob in 2, tracklet 2 shows Ann in 5. There are
        15 boxes of people, of which 8 + 5 show their tracklet's main person: purity 13 / 15. Ann
        has two tracklets, Bob is nobody's main person: 2 fragments.
    """
    truth = truth.assign(video="", visible=1.0)
    persons = scores.find_people(tracked.assign(video=""), truth)
    seen = tracked.assign(person=persons)[persons >= 0]
    shares = seen.groupby(["tracklet", "person"]).size()
    by_tracklet = shares.groupby("tracklet")
    main = by_tracklet.idxmax()
    return Counts(
        true_boxes=len(truth),
        found_boxes=len(seen.drop_duplicates(["frame", "person"])),
        shown_boxes=len(seen),
        main_boxes=int(by_tracklet.max().sum()),
        tracklets=len(main),
        mixed_tracklets=int((by_tracklet.size() > 1).sum()),
        people=len({person for _, person in main}),
    )


def long_enough(tracked: pd.DataFrame, crop_rate: float, min_crops: int) -> np.ndarray:
    """Which boxes belong to tracklets that the extract stage would write.

    Args:
        tracked: tracklet and time_s (seconds) of each box.
        crop_rate: Crops a second that are kept of a tracklet.
        min_crops: Tracklets with fewer are not written.

    Returns:
        bool [N].
    """
    slots = np.floor(tracked.time_s.to_numpy() * crop_rate + 1e-6).astype(int)
    crops = tracked.assign(slot=slots).groupby("tracklet").slot.transform("nunique")
    return crops.to_numpy() >= min_crops
