"""Level 1, first step: where a tracklet goes over from one person to another, it is cut in two.

A switch leaves two traces. The parts before and after it are less alike than parts of one tracklet are; and as two
people mostly exchange their tracklets, there is another tracklet whose parts fit better crosswise. Both count in one
number, and its limit is read off the footage itself: the tracklets as they are against tracklets that were made to
exchange their second parts. All is compared by cosine in a space in which what varies inside tracklets is scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.calibration import sample
from cion_core.denoise.checks import PART
from cion_core.denoise.linking.adaptation import residuals, whitener
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.neighbours.arrays import group_blocks, group_sums, run_starts, run_sums, unit
from cion_core.neighbours.rows import Rows

LEAST = 2  # crops of a part: a single strange crop is for the radius to remove
LONG = 256  # crops of a tracklet that are looked at, at even steps
DIMS = 128  # directions of the space
TRIM = 0.2  # share of successive crops, the most different ones, that are not taken for one person
AT_ONCE = 1 << 24  # numbers of one kind that are held at a time, while all cuts of some tracklets are looked at
NUDGE = 1e-3  # weight of all crops beside all but one: it decides between equals
TRUST = 3.0  # tracklets' worth of trust in the global mean against a video's own
CROSS = 0.5  # weight of what an exchange would bring, beside how little the parts are alike
WRONG = 0.02  # share of the tracklets that may be expected to be cut wrongly
FOUND = 0.95  # share of the made switches beyond which no more are looked for
SLIP = 0.1  # or, where switches are many, this share of the right cuts
NONE = 4.0  # beyond any score: nothing is cut


@dataclass(frozen=True)
class Space:
    """mean float32 [D], and matrix float32 [D, K] that scales down what varies inside tracklets."""

    mean: np.ndarray
    matrix: np.ndarray

    def of(self, features: np.ndarray) -> np.ndarray:
        """Features float32 [N, D] in this space, float32 [N, K]."""
        return (features - self.mean) @ self.matrix


@dataclass(frozen=True)
class Parts:
    """The best cut of each of T tracklets. at int [T]: the row where the later part begins; alike float32 [T]: cosine
    of the parts; early, late float32 [T, K]: their directions, of unit length."""

    at: np.ndarray
    alike: np.ndarray
    early: np.ndarray
    late: np.ndarray


def learnt(features: np.ndarray, pairs: np.ndarray) -> Space | None:
    """The space for `features` float32 [N, D]; None where nothing varies. pairs int [N]: a number, 0..., that two
    successive crops of one tracklet share, -1: none. The most different pairs are left out: they may be two people."""
    rest = residuals(features, pairs)
    length = (rest**2).sum(1)
    matrix = whitener(rest[length <= np.quantile(length, 1 - TRIM)]) if len(rest) else None
    if matrix is None:
        return None
    mean = features.mean(0)
    white = (features - mean) @ matrix
    directions = np.linalg.eigh((white.T @ white).astype(np.float64))[1][:, ::-1][:, :DIMS]
    return Space(mean, matrix @ directions.astype(np.float32))


def best_cuts(points: np.ndarray, start: np.ndarray) -> Parts:
    """The cut of each tracklet whose parts are least alike, even without any one crop of the tracklet.

    points float32 [M, K]: tracklets of 2·LEAST crops and more one after another, each in time, beginning in the rows
    `start` int [T]. A cut counts as the cosine of its parts' sums, or the highest that it takes when one crop is left
    out, so that a single strange crop makes no switch. Of cuts on both sides of that crop, which are then equal, the
    one is taken whose parts with all crops are less alike.
    """
    size = np.diff(start, append=len(points))
    at, alike = np.empty(len(start), np.int64), np.empty(len(start), np.float32)
    for n in np.unique(np.minimum(size, LONG)).tolist():
        alikes = np.flatnonzero(np.minimum(size, LONG) == n)
        for of in np.array_split(alikes, 1 + len(alikes) * n * n // AT_ONCE):
            steps = np.arange(n) * size[of][:, None] // n
            cosine, whole = _cosines(points[start[of][:, None] + steps])
            best = (cosine + NUDGE * whole).argmin(1)
            at[of] = start[of] + steps[np.arange(len(of)), best + LEAST]
            alike[of] = cosine[np.arange(len(of)), best]
    both = unit(run_sums(points, np.stack([start, at], 1).ravel()))
    return Parts(at, alike, both[::2], both[1::2])


def _cosines(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For tracklets of one length, points [T, n, K]: how alike the parts of every cut are, [T, n - 2·LEAST + 1], if
    that crop is left out without which they are most alike, and with all crops."""
    n = points.shape[1]
    gram = points @ points.transpose(0, 2, 1)
    own = np.einsum("tii->ti", gram)[:, None]
    cuts = slice(LEAST - 1, n - LEAST)
    before = gram.cumsum(1)  # [T, cut, crop]: of each crop with the sum of the early part
    after = (before[:, -1:] - before)[:, cuts]  # and with that of the late part
    before = before[:, cuts]
    early = np.arange(n) < np.arange(LEAST, n - LEAST + 1)[:, None]  # [cut, crop]
    across, first, last = (np.where(*of, 0).sum(2, keepdims=True) for of in (
        (early, after), (early, before), (~early, after)))  # fmt: skip
    without = across - np.where(early, after, before)  # each crop left out in its turn
    first_without = np.where(early, first - 2 * before + own, first)
    last_without = np.where(early, last, last - 2 * after + own)
    whole = _cosine(across, first, last)[..., 0]
    return np.maximum(whole, _cosine(without, first_without, last_without).max(2)), whole


def _cosine(dot: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From a product and two squared lengths."""
    return dot / np.sqrt(np.maximum(a, 1e-12) * np.maximum(b, 1e-12))


def crosswise(parts: Parts, videos: np.ndarray) -> np.ndarray:
    """What an exchange of late parts with another tracklet of its video would bring at best, float32 [T].

    That is how alike early and late parts are crosswise, less how alike those of the other one are; -1 where there is
    no other: as with a stranger in one piece. videos int [T], ascending.
    """
    out = np.full(len(videos), -1, np.float32)
    for of in np.split(np.arange(len(videos)), run_starts(videos)[1:]):
        if len(of) > 1:
            early, late = parts.early[of], parts.late[of]
            across = early @ late.T
            fits = np.maximum(across + across.T, early @ early.T + late @ late.T) - parts.alike[of]
            np.fill_diagonal(fits, -np.inf)
            out[of] = fits.max(1)
    return out


def scores(points: np.ndarray, start: np.ndarray, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far apart the parts of each tracklet are, more so where an exchange makes sense, float32 [T]; and where the
    late ones begin, int [T]. points, start as for `best_cuts`; videos int [T], ascending."""
    parts = best_cuts(points, start)
    return 1 - parts.alike + CROSS * crosswise(parts, videos), parts.at


def exchanged(start: np.ndarray, end: int, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Switches made: inside videos two and two tracklets, drawn at random, exchange what follows a random place.

    start int [T]: the rows where tracklets of 2·LEAST crops and more begin, the last of which ends at `end`; videos
    int [T], ascending. Returns the rows of the switched tracklets one after another, where each of them begins among
    these, int [S], and its video, int [S].
    """
    rng = np.random.default_rng(0)
    stop = np.append(start[1:], end)
    at = rng.integers(start + LEAST, stop - LEAST + 1)
    order = np.lexsort((rng.random(len(start)), videos))
    first = run_starts(videos)
    place = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    pair = np.flatnonzero((place[:-1] % 2 == 0) & (videos[1:] == videos[:-1]))
    own = np.stack([order[pair], order[pair + 1]], 1)
    mate, own = own[:, ::-1].ravel(), own.ravel()
    rows = [np.r_[a:b, c:d] for a, b, c, d in zip(start[own], at[own], at[mate], stop[mate], strict=True)]
    begin = np.cumsum([0, *map(len, rows)])[:-1]
    return np.concatenate([np.empty(0, np.int64), *rows]), begin, videos[own]


def limit(given: np.ndarray, made: np.ndarray) -> Calibration:
    """The score from which on a tracklet is cut: that with the fewest errors, be it a wrong cut or a missed switch.

    given: scores of the tracklets as they are, of which an unknown share are switches; made: of made switches. That
    share is at most what is given beyond any score for each that is made (Blanchard, Lee and Scott 2010, looked at up
    to the median of the made ones). Cut wrongly is what is given beyond a score, less share · what is made beyond it:
    at most WRONG of all or SLIP of the right cuts, and never more than these. Nothing is looked for below what FOUND of
    the made ones lie beyond, where the share can tell nothing of the few that are left.
    """
    if min(len(given), len(made)) < ENOUGH:
        few = f"cuts none: only {len(given)} tracklets of {2 * LEAST} crops and more, too few to learn from"
        return Calibration(NONE, few, len(given), len(made))
    given, made = np.sort(given), np.sort(made)
    tried = made[: len(made) // 2 + 1]
    beyond = 1 - np.searchsorted(given, tried) / len(given)  # share of the given that are cut from each score on
    found = 1 - np.searchsorted(made, tried) / len(made)
    share = float((beyond / found).min())
    right = share * found
    wrong = beyond - right
    fit = (wrong <= np.minimum(np.maximum(WRONG, SLIP * right), right)) & (found <= FOUND) & (share > 0)
    points = curve(given, made)
    if not fit.any():
        return Calibration(NONE, "cuts none: no score tells switches from tracklets", len(given), len(made))
    best = int(np.where(fit, wrong - right, np.inf).argmin())
    rule = (
        f"cuts {beyond[best]:.1%} of the tracklets if {share:.1%} are switches: finds {found[best]:.0%} of those that "
        f"were made, cuts {wrong[best]:.1%} wrongly"
    )
    return Calibration(float(tried[best]), rule, len(given), len(made), points)


def space(crops: pd.DataFrame, features: np.ndarray | Rows, tracklets: np.ndarray) -> Space | None:
    """The space for the footage, learnt from a sample of its videos; arguments as for `cut`."""
    rows = sample(crops)
    return learnt(features[rows], _successive(crops.iloc[rows], tracklets[rows]))


def calibrated(
    space: Space | None, crops: pd.DataFrame, features: np.ndarray | Rows, tracklets: np.ndarray
) -> Calibration:
    """`limit` of a sample of the footage's videos; arguments as for `cut`."""
    if space is None:
        return Calibration(NONE, "cuts none: nothing varies inside tracklets", 0, 0)
    rows = sample(crops)
    long = _Long.of(crops.iloc[rows], pd.factorize(crops.video)[0][rows], tracklets[rows], features[rows], space)
    switched, begin, videos = exchanged(long.start, len(long.rows), long.videos)
    given, _ = scores(long.points, long.start, long.videos)
    made, _ = scores(long.points[switched], begin, videos)
    return limit(given, made)


def cut(
    space: Space | None, crops: pd.DataFrame, features: np.ndarray | Rows, tracklets: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the tracklets whose score is `limit` or more. Returns tracklets and parts, the label of each crop int64 [N],
    and the score of the crops that were cut off from their tracklet, float32 [N] (NaN elsewhere).

    crops, features as `checks.checked` returns them; tracklets int64 [N]. The early part of a tracklet keeps its
    number, the late part is numbered PART and its first crop.
    """
    out, told = tracklets.copy(), np.full(len(tracklets), np.nan, np.float32)
    videos, numbers = pd.factorize(crops.video)[0], crops.crop.to_numpy(np.int64)
    for rows in group_blocks(videos) if space and limit < NONE else ():
        long = _Long.of(crops.iloc[rows], videos[rows], tracklets[rows], features[rows], space)
        score, at = scores(long.points, long.start, long.videos)
        own = np.repeat(np.arange(len(at)), np.diff(long.start, append=len(long.rows)))
        late = np.flatnonzero((np.arange(len(own)) >= at[own]) & (score[own] >= limit))
        own, into = own[late], rows[long.rows[late]]
        out[into], told[into] = PART + numbers[rows[long.rows[at[own]]]], score[own]
    return out, told


@dataclass(frozen=True)
class _Long:
    """Of some crops those of tracklets that can be cut: their rows int [M], by video, tracklet and time; where a
    tracklet begins in these and its video, int [T]; their points float32 [M, K], less those of their video."""

    rows: np.ndarray
    start: np.ndarray
    videos: np.ndarray
    points: np.ndarray

    @classmethod
    def of(
        cls, crops: pd.DataFrame, videos: np.ndarray, tracklets: np.ndarray, features: np.ndarray, space: Space
    ) -> _Long:
        order = np.lexsort((crops.crop, crops.frame, tracklets, videos))
        start = run_starts(tracklets[order])
        size = np.diff(start, append=len(order))
        codes = pd.factorize(videos)[0]
        points = space.of(features)
        crops_of, tracklets_of = np.bincount(codes), np.bincount(codes[order[start]])
        trust = tracklets_of / (tracklets_of + TRUST) / crops_of
        points -= (group_sums(points, codes, len(crops_of)) * trust[:, None].astype(np.float32))[codes]
        enough = size >= 2 * LEAST
        rows = order[np.repeat(enough, size)]
        return cls(rows, np.cumsum(np.append(0, size[enough]))[:-1], videos[order[start[enough]]], points[rows])


def _successive(crops: pd.DataFrame, tracklets: np.ndarray) -> np.ndarray:
    """A number for the first and second, third and fourth, ... crop of each tracklet, int [N]."""
    order = np.lexsort((crops.crop, crops.frame, tracklets))
    start = run_starts(tracklets[order])
    size = np.diff(start, append=len(order))
    half = (np.arange(len(order)) - np.repeat(start, size)) // 2
    before = np.cumsum((size + 1) // 2) - (size + 1) // 2
    out = np.empty(len(order), np.int64)
    out[order] = half + np.repeat(before, size)
    return out
