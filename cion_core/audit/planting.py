"""Planting: errors that trackers make are put into a copy of the tracklets.

Planted are, inside one video:

    switch    from some frame on, two tracklets have each other's people
    swap      two crops of one frame are exchanged
    fragment  a tracklet is cut in two

Switches and swaps are planted only between tracklets that are seen in one frame, for only they are
known to show two people. A tracklet takes part in one exchange or cut at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise import cannot_link
from cion_core.neighbours.arrays import run_starts

# Of the tracklets, for each kind: few enough that most of what a level sees is as it was.
SHARE = 0.1
# Crops of the sample.
LIMIT = 3000
NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Planted:
    """One planted error, as rows of the table: the guests should be with the origin, and are not.

    Of a tracklet put together from two parts the smaller is the guest, of equal ones the earlier.

    One exchange makes two of these, for either tracklet then holds somebody who does not belong
    there. Two tracklets, of Ann and of Bob, whose people change places before the fourth crop:

        as they were    tracklet 1  A A A A A A     tracklet 2  B B B B B B B
        as planted      tracklet 1  A A A B B B B   tracklet 2  B B B A A A

        error 1, in tracklet 1    guest: its 3 A    host: its 4 B    origin: the 3 A of tracklet 2
        error 2, in tracklet 2    guest: its 3 B    host: its 3 A    origin: the 4 B of tracklet 1

    Attributes:
        kind: one of KINDS.
        guest: rows int64 [g] that now have the wrong tracklet.
        host: rows of somebody else in the same tracklet; empty for a fragment.
        origin: rows of the guest's own person.
    """

    kind: str
    guest: np.ndarray
    host: np.ndarray
    origin: np.ndarray


def sample(crops: pd.DataFrame, rng: np.random.Generator, limit: int = LIMIT) -> np.ndarray:
    """Draw whole videos at random, `limit` crops at most; two videos where there are two.

    Of a video with more than half the limit only some tracklets are taken: those that begin first.

    Returns:
        Rows, int64, ascending.
    """
    rows_of = crops.groupby("video", observed=True).indices
    chosen: list[np.ndarray] = []
    total = 0
    for video in rng.permutation(sorted(rows_of)).tolist():
        rows = np.sort(rows_of[video])
        if len(rows) > limit // 2:
            rows = _first_tracklets(crops, rows, limit // 2)
        if len(chosen) < 2 or total + len(rows) <= limit:
            chosen.append(rows)
            total += len(rows)
    return np.sort(np.concatenate(chosen)) if chosen else NO_ROWS


def _first_tracklets(crops: pd.DataFrame, rows: np.ndarray, limit: int) -> np.ndarray:
    """The rows of the tracklets that begin first: as many as fit the limit, and one at least."""
    video = crops.iloc[rows]
    begin = video.frame.groupby(video.tracklet).transform("min").to_numpy()
    order = np.lexsort((video.tracklet, begin))

    # The places in that order where a tracklet is complete.
    tracklet = video.tracklet.to_numpy()[order]
    last_of_tracklet = np.append(tracklet[1:] != tracklet[:-1], True)
    ends = np.flatnonzero(last_of_tracklet) + 1
    end = max(ends[ends <= limit], default=ends[0])
    return np.sort(rows[order[:end]])


def inject(
    crops: pd.DataFrame, rng: np.random.Generator, share: float = SHARE, least: int = 2
) -> tuple[pd.DataFrame, list[Planted]]:
    """A copy of the crops with other tracklets, and the errors planted there.

    Args:
        crops: crop, video, frame, tracklet; x1 y1 x2 y2 tell duplicate detections from two people.
            A tracklet has at most one crop in a frame, and that stays so.
        rng: decides where.
        share: of the tracklets that each kind touches, where so many are fit for it.
        least: crops that every part has, but for the single crops of a swap.

    Returns:
        The crops, of which no column but tracklet has changed; and the errors.
    """
    garden = _Garden(crops, rng, least)
    quota = round(share * len(garden.rows_of))
    pairs = cannot_link.crop_pairs(crops)

    # A switch and a swap touch two tracklets each, a fragment one.
    both_can_be_cut = garden.can_be_cut[pairs].all(1)
    for pair in garden.draw(pairs[both_can_be_cut], quota // 2):
        garden.plant_switch(*pair)
    both_can_swap = (garden.size > least)[pairs].all(1)
    for pair in garden.draw(pairs[both_can_swap], quota // 2):
        garden.plant_swap(*pair)
    cuttable = np.flatnonzero(garden.can_be_cut)
    for (row,) in garden.draw(cuttable[:, None], quota):
        garden.plant_fragment(row)
    return crops.assign(tracklet=garden.changed), garden.planted


class _Garden:
    """Tracklets into which errors are planted, one after another.

    Attributes:
        rows_of: the rows of each tracklet, by frame.
        before: int64 [N], how many crops of its tracklet are earlier than each crop.
        size: int64 [N], how many crops the tracklet of each crop has.
        can_be_cut: bool [N], whether its tracklet may be cut before this crop.
        changed: int64 [N], the tracklets with the errors in them.
        planted: the errors so far.
    """

    def __init__(self, crops: pd.DataFrame, rng: np.random.Generator, least: int) -> None:
        self.rng = rng
        self.tracklets = crops.tracklet.to_numpy(np.int64)
        by_frame = np.lexsort((crops.frame.to_numpy(np.int64), self.tracklets))
        sorted_tracklets = self.tracklets[by_frame]
        starts = run_starts(sorted_tracklets)
        parts = np.split(by_frame, starts[1:]) if len(starts) else []
        self.rows_of = dict(zip(sorted_tracklets[starts].tolist(), parts, strict=True))

        self.before = np.empty(len(crops), np.int64)
        self.size = np.empty(len(crops), np.int64)
        for rows in self.rows_of.values():
            self.before[rows] = np.arange(len(rows))
            self.size[rows] = len(rows)
        after = self.size - self.before
        self.can_be_cut = (self.before >= least) & (after >= least)

        self.changed = self.tracklets.copy()
        self.planted: list[Planted] = []
        self.touched: set[int] = set()
        self.next_tracklet = int(self.tracklets.max(initial=0)) + 1

    def draw(self, candidates: np.ndarray, count: int) -> list[list[int]]:
        """Draw up to `count` candidates, rows [M, 1 or 2], whose tracklets have no error yet."""
        drawn: list[list[int]] = []
        for rows in self.rng.permutation(candidates).tolist():
            if len(drawn) == count:
                break
            tracklets = self.tracklets[rows].tolist()
            if self.touched.isdisjoint(tracklets):
                self.touched.update(tracklets)
                drawn.append(rows)
        return drawn

    def plant_switch(self, first: int, second: int) -> None:
        """From these rows on, the two tracklets have each other's people."""
        first_early, first_late = self._cut(first)
        second_early, second_late = self._cut(second)
        self.changed[first_late] = self.tracklets[second]
        self.changed[second_late] = self.tracklets[first]
        self._add_switch(first_early, second_late, first_late, second_early)
        self._add_switch(second_early, first_late, second_late, first_early)

    def _add_switch(
        self,
        early: np.ndarray,
        late: np.ndarray,
        rest_of_early: np.ndarray,
        rest_of_late: np.ndarray,
    ) -> None:
        """A tracklet is now `early` of one person and `late` of another; where their rest is."""
        if len(late) < len(early):
            self.planted.append(Planted("switch", guest=late, host=early, origin=rest_of_late))
        else:
            self.planted.append(Planted("switch", guest=early, host=late, origin=rest_of_early))

    def plant_swap(self, first: int, second: int) -> None:
        """The two crops are exchanged."""
        self.changed[first] = self.tracklets[second]
        self.changed[second] = self.tracklets[first]
        rest_of_first = np.setdiff1d(self._rows_with(first), first)
        rest_of_second = np.setdiff1d(self._rows_with(second), second)
        self.planted.append(Planted("swap", np.array([first]), rest_of_second, rest_of_first))
        self.planted.append(Planted("swap", np.array([second]), rest_of_first, rest_of_second))

    def plant_fragment(self, row: int) -> None:
        """From this row on, the tracklet is another one."""
        early, late = self._cut(row)
        self.changed[late] = self.next_tracklet
        self.next_tracklet += 1
        guest, origin = (late, early) if len(late) < len(early) else (early, late)
        self.planted.append(Planted("fragment", guest, NO_ROWS, origin))

    def _rows_with(self, row: int) -> np.ndarray:
        """All rows of the row's tracklet, by frame."""
        return self.rows_of[int(self.tracklets[row])]

    def _cut(self, row: int) -> list[np.ndarray]:
        """The rows of its tracklet before this one, and from it on."""
        return np.split(self._rows_with(row), [self.before[row]])
