"""Level 1, first step: where a tracklet goes over from one person to another, it is cut in two.

A switch leaves two traces. The parts before and after it are less alike than parts of one tracklet
are; and as two people mostly exchange their tracklets, there is another tracklet whose parts fit
better crosswise. Both count in one number (`cuts.score_cuts`), and its limit is read off the
footage itself: the tracklets as they are against tracklets that were made to exchange their second
parts. All is compared by cosine in a space in which what varies inside tracklets is scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.checks import PART
from cion_core.denoise.cuts import SMALLEST_PART, score_cuts
from cion_core.denoise.linking.adaptation import group_residuals, whitener
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.denoise.video_thresholds import sample_videos
from cion_core.neighbours.arrays import group_blocks, group_sums, run_starts
from cion_core.neighbours.rows import Rows

# Directions of the space.
DIMS = 128
# The share of successive crops, the most different ones, that are not taken for one person.
TRIM = 0.2
# How much the global mean is trusted against a video's own, in tracklets.
TRUST = 3.0
# The share of the tracklets that may be expected to be cut wrongly ...
WRONG = 0.02
# ... or, where switches are many, this share of the right cuts.
SLIP = 0.1
# The share of the made switches beyond which no more are looked for.
FOUND = 0.95
# A limit beyond any score: nothing is cut.
CUTS_NOTHING = 4.0


@dataclass(frozen=True)
class TrackletSpace:
    """Where parts of tracklets are compared.

    Args:
        mean: float32 [D], taken off features.
        matrix: float32 [D, K], scales down what varies inside tracklets.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def project(self, features: np.ndarray) -> np.ndarray:
        """Features float32 [N, D] in this space, float32 [N, K]."""
        return (features - self.mean) @ self.matrix


def cut(
    space: TrackletSpace | None,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    tracklets: np.ndarray,
    limit: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the tracklets whose score is `limit` or more.

    Args:
        space: where parts are compared; None: nothing varies, and nothing is cut.
        crops: as `checks.checked` returns them.
        features: likewise, float32 [N, D].
        tracklets: int64 [N].
        limit: a score.

    Returns:
        The label of each crop, int64 [N]: the early part of a tracklet keeps its number, the late
        part gets PART + the number of its first crop. And the score of the crops that were cut off
        from their tracklet, float32 [N], NaN elsewhere.
    """
    labels = tracklets.copy()
    cut_score = np.full(len(tracklets), np.nan, np.float32)
    if space is None or limit >= CUTS_NOTHING:
        return labels, cut_score
    videos = pd.factorize(crops.video)[0]
    crop_numbers = crops.crop.to_numpy(np.int64)
    for rows in group_blocks(videos):
        whole = Cuttable.of(crops.iloc[rows], videos[rows], tracklets[rows], features[rows], space)
        score, late_begin = score_cuts(whole.points, whole.start, whole.videos)
        size = np.diff(whole.start, append=len(whole.rows))
        own = np.repeat(np.arange(len(size)), size)

        is_late = np.arange(len(own)) >= late_begin[own]
        is_cut = score[own] >= limit
        cut_off = np.flatnonzero(is_late & is_cut)
        own = own[cut_off]
        crop_of_row = crop_numbers[rows[whole.rows]]
        first_crop = crop_of_row[late_begin[own]]
        into = rows[whole.rows[cut_off]]
        labels[into] = PART + first_crop
        cut_score[into] = score[own]
    return labels, cut_score


def learn_tracklet_space(
    crops: pd.DataFrame, features: np.ndarray | Rows, tracklets: np.ndarray
) -> TrackletSpace | None:
    """The space for the footage, learnt from a sample of its videos; arguments as for `cut`."""
    rows = sample_videos(crops)
    pairs = _number_successive(crops.iloc[rows], tracklets[rows])
    return learn_from_pairs(features[rows], pairs)


def learn_from_pairs(features: np.ndarray, pairs: np.ndarray) -> TrackletSpace | None:
    """Learn a space from pairs of successive crops.

    The most different pairs are left out: they may be two people.

    Args:
        features: float32 [N, D].
        pairs: int [N], a number from 0 that two successive crops of one tracklet share; -1: none.

    Returns:
        None where nothing varies.
    """
    residuals = group_residuals(features, pairs)
    if not len(residuals):
        return None
    length = (residuals**2).sum(1)
    longest = np.quantile(length, 1 - TRIM)
    alike = length <= longest
    matrix = whitener(residuals[alike])
    if matrix is None:
        return None
    mean = features.mean(0)
    white = (features - mean) @ matrix
    scatter = (white.T @ white).astype(np.float64)
    by_rising_variance = np.linalg.eigh(scatter)[1]
    directions = by_rising_variance[:, ::-1][:, :DIMS]
    return TrackletSpace(mean, matrix @ directions.astype(np.float32))


def calibrate(
    space: TrackletSpace | None,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    tracklets: np.ndarray,
) -> Calibration:
    """Find the limit from a sample of the footage's videos; arguments as for `cut`."""
    if space is None:
        return Calibration(CUTS_NOTHING, "cuts none: nothing varies inside tracklets", 0, 0)
    rows = sample_videos(crops)
    videos = pd.factorize(crops.video)[0][rows]
    whole = Cuttable.of(crops.iloc[rows], videos, tracklets[rows], features[rows], space)
    switched, start, switched_videos = make_switches(whole.start, len(whole.rows), whole.videos)
    given, _ = score_cuts(whole.points, whole.start, whole.videos)
    made, _ = score_cuts(whole.points[switched], start, switched_videos)
    return find_limit(given, made)


def make_switches(
    start: np.ndarray, end: int, videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make switches: inside videos two and two tracklets exchange what follows a random place.

    Args:
        start: int [T], the rows where tracklets of 2·SMALLEST_PART crops and more begin.
        end: where the last of them ends.
        videos: int [T], ascending.

    Returns:
        The rows of the switched tracklets one after another, int; where each of them begins among
        these, int [S]; and its video, int [S].
    """
    rng = np.random.default_rng(0)
    stop = np.append(start[1:], end)
    at = rng.integers(start + SMALLEST_PART, stop - SMALLEST_PART + 1)

    # Draw an order in each video; the first goes with the second, the third with the fourth.
    order = np.lexsort((rng.random(len(start)), videos))
    first = run_starts(videos)
    tracklets_of_video = np.diff(first, append=len(order))
    place = np.arange(len(order)) - np.repeat(first, tracklets_of_video)
    is_first_of_two = place[:-1] % 2 == 0
    same_video = videos[1:] == videos[:-1]
    pair = np.flatnonzero(is_first_of_two & same_video)
    both = np.stack([order[pair], order[pair + 1]], 1)
    own = both.ravel()
    mate = both[:, ::-1].ravel()

    # The early part of each, and the late part of its mate.
    rows = [
        np.r_[early:cut_at, mate_cut:mate_stop]
        for early, cut_at, mate_cut, mate_stop in zip(
            start[own], at[own], at[mate], stop[mate], strict=True
        )
    ]
    begin = np.cumsum([0, *map(len, rows)])[:-1]
    return np.concatenate([np.empty(0, np.int64), *rows]), begin, videos[own]


def find_limit(given: np.ndarray, made: np.ndarray) -> Calibration:
    """The score from which on a tracklet is cut: that with the fewest errors.

    An error is a wrong cut or a missed switch. An unknown share of the given tracklets are
    switches. It is at most what is given beyond any score for each that is made there (Blanchard,
    Lee and Scott 2010; looked at up to the median of the made ones). Cut wrongly is what is given
    beyond a score, less share · what is made beyond it: at most WRONG of all or SLIP of the right
    cuts, and never more than these. Scores that more than FOUND of the made switches exceed are not
    tried: the share can tell nothing of the few that are left there.

    Example, 100 tracklets as they are and 100 made switches:

        score                        0.2    0.5    0.8
        given beyond it              60 %   10 %    6 %
        made beyond it              100 %   90 %   60 %
        given / made                0.60   0.11   0.10    the least: 10 % are switches
        right cuts: 10 % of made     10 %    9 %    6 %
        wrong cuts: the rest         50 %    1 %    0 %
        wrong - right               +40 %   -8 %   -6 %   the least: cut from 0.5 on

    Args:
        given: float [T], scores of the tracklets as they are.
        made: float [S], of made switches.
    """
    counts = len(given), len(made)
    if min(counts) < ENOUGH:
        few = (
            f"cuts none: only {len(given)} tracklets of {2 * SMALLEST_PART} crops and more, "
            "too few to learn from"
        )
        return Calibration(CUTS_NOTHING, few, *counts)
    given, made = np.sort(given), np.sort(made)
    tried = made[: len(made) // 2 + 1]

    # Step 1: the shares that are cut from each score on, of the given and of the made.
    beyond = 1 - np.searchsorted(given, tried) / len(given)
    found = 1 - np.searchsorted(made, tried) / len(made)

    # Step 2: how many of the given are switches at most, and so which of their cuts are right.
    share = float((beyond / found).min())
    right = share * found
    wrong = beyond - right

    # Step 3: the score with the fewest errors among those that cut wrongly seldom enough.
    accepted = np.maximum(WRONG, SLIP * right)
    most_wrong = np.minimum(accepted, right)
    allowed = (wrong <= most_wrong) & (found <= FOUND) & (share > 0)
    if not allowed.any():
        how = "cuts none: no score tells switches from tracklets"
        return Calibration(CUTS_NOTHING, how, *counts)
    best = int(np.where(allowed, wrong - right, np.inf).argmin())
    how = (
        f"cuts {beyond[best]:.1%} of the tracklets if {share:.1%} are switches: finds "
        f"{found[best]:.0%} of those that were made, cuts {wrong[best]:.1%} wrongly"
    )
    return Calibration(float(tried[best]), how, *counts, curve(given, made))


@dataclass(frozen=True)
class Cuttable:
    """Of some crops those of tracklets that are long enough to be cut.

    Args:
        rows: int [M], by video, tracklet and time.
        start: int [T], where a tracklet begins in these.
        videos: int [T].
        points: float32 [M, K], in the space, less those of their video.
    """

    rows: np.ndarray
    start: np.ndarray
    videos: np.ndarray
    points: np.ndarray

    @classmethod
    def of(
        cls,
        crops: pd.DataFrame,
        videos: np.ndarray,
        tracklets: np.ndarray,
        features: np.ndarray,
        space: TrackletSpace,
    ) -> Cuttable:
        order = np.lexsort((crops.crop, crops.frame, tracklets, videos))
        start = run_starts(tracklets[order])
        size = np.diff(start, append=len(order))

        # Take off each video's mean, which is trusted the more the more tracklets it is of.
        points = space.project(features)
        video = pd.factorize(videos)[0]
        crops_of = np.bincount(video)
        tracklets_of = np.bincount(video[order[start]])
        trust = tracklets_of / (tracklets_of + TRUST)
        share = (trust / crops_of)[:, None].astype(np.float32)
        mean = group_sums(points, video, len(crops_of)) * share
        points -= mean[video]

        enough = size >= 2 * SMALLEST_PART
        rows = order[np.repeat(enough, size)]
        start_in_rows = np.cumsum(np.append(0, size[enough]))[:-1]
        first_rows = order[start[enough]]
        return cls(rows, start_in_rows, videos[first_rows], points[rows])


def _number_successive(crops: pd.DataFrame, tracklets: np.ndarray) -> np.ndarray:
    """A number for the first and second, third and fourth, ... crop of each tracklet, int [N]."""
    order = np.lexsort((crops.crop, crops.frame, tracklets))
    start = run_starts(tracklets[order])
    size = np.diff(start, append=len(order))
    place_in_tracklet = np.arange(len(order)) - np.repeat(start, size)
    pair_in_tracklet = place_in_tracklet // 2
    pairs_of = (size + 1) // 2
    pairs_before = np.cumsum(pairs_of) - pairs_of
    numbers = np.empty(len(order), np.int64)
    numbers[order] = pair_in_tracklet + np.repeat(pairs_before, size)
    return numbers
