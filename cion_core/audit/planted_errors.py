"""An audit without truth: errors planted into a copy of the tracklets, and what became of each.

Planted are, inside one video, the errors that trackers make:

    switch    from some frame on, two tracklets have each other's people
    swap      two crops of one frame are exchanged
    fragment  a tracklet is cut in two

Switches and swaps are planted only between tracklets that are seen in one frame, for only they are
known to show two people. A tracklet takes part in one error at most. Errors that the tracklets hold
already are not known, and none of them is counted. Where the tracker itself erred at that very
place, a planted error may rightly be left alone, so the shares of what is repaired are lower
bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise import cannot_link
from cion_core.neighbours.arrays import run_starts

KINDS = ("switch", "swap", "fragment")
# Of the tracklets, for each kind: few enough that most of what a level sees is as it was.
SHARE = 0.1
# Crops of the sample.
LIMIT = 3000
SEED = 0
# From worst to best: a tie counts as the worse.
FATES = ("stayed", "elsewhere", "removed", "home")
# What `_most_common` says where no crop has an identity. No crop's label is this number.
NOBODY = -2
NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Planted:
    """One planted error, as rows of the table: the guests should be with the origin, and are not.

    Of a tracklet put together from two parts the smaller is the guest, of equal ones the earlier.

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

    can_be_cut = garden.can_be_cut
    for pair in garden.draw(pairs[can_be_cut[pairs].all(1)], quota // 2):
        garden.plant_switch(*pair)
    can_swap = garden.size > least
    for pair in garden.draw(pairs[can_swap[pairs].all(1)], quota // 2):
        garden.plant_swap(*pair)
    for (row,) in garden.draw(np.flatnonzero(can_be_cut)[:, None], quota):
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


def fate(error: Planted, labels: np.ndarray) -> str:
    """What became of most guests of an error.

    Args:
        error: the error.
        labels: int [N], a labelling, -1: none.

    Returns:
        One of FATES. stayed: with most of the host. home: with most of the origin. removed: in no
        identity. elsewhere: in any other.
    """
    of_host = _most_common(labels[error.host])
    of_origin = _most_common(labels[error.origin])

    def judge(label: int) -> str:
        if label < 0:
            return "removed"
        if label == of_host:
            return "stayed"
        return "home" if label == of_origin else "elsewhere"

    counts = Counter(judge(label) for label in labels[error.guest].tolist())
    return max(FATES, key=lambda name: (counts[name], -FATES.index(name)))


def repaired(planted: list[Planted], labels: np.ndarray) -> dict[str, dict[str, int]]:
    """How many errors of each kind are repaired in a labelling.

    Returns:
        For each kind that was planted: `repaired`; of them `removed` (the guests were dropped) and
        `home` (they are back with their origin). A switch or a swap is repaired when most guests
        are no longer with the host, a fragment when they are with their origin.
    """
    counted = {}
    for kind in KINDS:
        fates = Counter(fate(error, labels) for error in planted if error.kind == kind)
        if not fates:
            continue
        mended = fates["home"] if kind == "fragment" else fates.total() - fates["stayed"]
        counted[kind] = {"repaired": mended, "removed": fates["removed"], "home": fates["home"]}
    return counted


def audit(
    crops: pd.DataFrame,
    features: np.ndarray,
    levels: Callable[[pd.DataFrame, np.ndarray], dict[str, np.ndarray]],
    least: int,
    seed: int = SEED,
    each: Callable[..., Iterable[dict[str, np.ndarray]]] = map,
) -> dict | None:
    """Plant errors into a sample of whole videos, run the levels on it, and count.

    Args:
        crops: as `checks.checked` returns them.
        features: likewise.
        levels: takes crops and features; returns the labels, int [N], after each level by its name.
            It is called twice, without and with the errors.
        least: crops of a part, no fewer than a level needs to keep it.
        seed: decides on the sample and the errors.
        each: calls it, as `map` does; `cluster.mapped` does so on other machines.

    Returns:
        None where no error could be planted. Else `videos` and `crops` of the sample; under each
        kind (None: none planted) `planted`, and for every level `repaired`, `removed`, `home`;
        under `bystanders` how many `crops` are guests of no error, and how many of them each level
        `dropped` though it keeps them without the errors.
    """
    # 1. A sample, and errors in it.
    rng = np.random.default_rng(seed)
    rows = sample(crops, rng)
    crops, features = crops.iloc[rows].reset_index(drop=True), features[rows]
    crops = crops.assign(video=crops.video.astype("category").cat.remove_unused_categories())
    changed, planted = inject(crops, rng, least=max(2, least))
    if not planted:
        return None

    # 2. The levels, without and with the errors.
    clean, with_errors = each(levels, [crops, changed], [features, features])

    # 3. What became of the errors.
    counts = {level: repaired(planted, labels) for level, labels in with_errors.items()}
    found: dict = {"videos": int(crops.video.nunique()), "crops": len(crops)}
    for kind in KINDS:
        number = sum(error.kind == kind for error in planted)
        found[kind] = None
        if number:
            by_level = {level: count[kind] for level, count in counts.items()}
            found[kind] = {"planted": number, **by_level}

    # 4. What became of those that had no part in them.
    bystander = np.ones(len(crops), bool)
    bystander[np.concatenate([error.guest for error in planted])] = False
    dropped = {}
    for level, labels in with_errors.items():
        lost = bystander & (clean[level] >= 0) & (labels < 0)
        dropped[level] = int(lost.sum())
    found["bystanders"] = {"crops": int(bystander.sum()), "dropped": dropped}
    return found


def numbers(found: dict | None) -> dict[str, dict[str, float]]:
    """What `audit` found as numbers.

    Returns:
        For each kind that was planted: how many (`planted`), and by each level's name the
        percentage that is repaired after it.
    """
    if not found:
        return {}
    by_kind = {}
    for kind in KINDS:
        if not found[kind]:
            continue
        planted = found[kind]["planted"]
        by_kind[kind] = {"planted": planted}
        for level, count in found[kind].items():
            if level != "planted":
                by_kind[kind][level] = round(100 * count["repaired"] / planted, 1)
    return by_kind


def summary(found: dict | None) -> str:
    """What `audit` found, in one line for a person."""
    if not found:
        return (
            "no errors could be planted: no two tracklets are seen together, and none is long "
            "enough to cut"
        )
    kinds = []
    for kind, by_level in numbers(found).items():
        plural = "switches" if kind == "switch" else f"{kind}s"
        shares = [f"{share:.0f} %" for name, share in by_level.items() if name != "planted"]
        kinds.append(f"{by_level['planted']} {plural} {' / '.join(shares)}")
    return f"planted into {found['crops']} crops, repaired after each level: {', '.join(kinds)}"


def _most_common(labels: np.ndarray) -> int:
    """The identity that most crops have, of equally many the lowest; NOBODY where none has one."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    return int(names[counts.argmax()]) if len(names) else NOBODY
