"""Where a tracklet is best cut in two, and what an exchange of parts with another would bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cion_core.neighbours.arrays import run_starts, run_sums, unit

# Crops of a part: a single strange crop is for the radius to remove.
SMALLEST_PART = 2
# Crops of a tracklet that are looked at, at even steps.
LONGEST = 256
# Numbers of one kind that are held at a time, while all cuts of some tracklets are looked at.
AT_ONCE = 1 << 24
# The weight of all crops beside all but one: it decides between equals.
NUDGE = 1e-3
# The weight of what an exchange would bring, beside how little the parts are alike.
EXCHANGE_WEIGHT = 0.5


@dataclass(frozen=True)
class Parts:
    """The best cut of each of T tracklets.

    Args:
        at: int [T], the row where the later part begins.
        alike: float32 [T], the cosine of the parts.
        early: float32 [T, K], their directions, of unit length.
        late: float32 [T, K].
    """

    at: np.ndarray
    alike: np.ndarray
    early: np.ndarray
    late: np.ndarray


def score_cuts(
    points: np.ndarray, start: np.ndarray, videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far apart the parts of each tracklet are, more so where an exchange makes sense.

    Args:
        points: float32 [M, K], as for `best_cuts`.
        start: int [T], as for `best_cuts`.
        videos: int [T], ascending.

    Returns:
        The score of each tracklet, float32 [T], and the row where its late part begins, int [T].
    """
    parts = best_cuts(points, start)
    gain = gain_of_exchange(parts, videos)
    score = 1 - parts.alike + EXCHANGE_WEIGHT * gain
    return score, parts.at


def best_cuts(points: np.ndarray, start: np.ndarray) -> Parts:
    """The cut of each tracklet whose parts are least alike, even if any one crop is left out.

    A cut counts as the cosine of its parts' sums, or the highest that it takes when one crop is
    left out, so that a single strange crop makes no switch. Of cuts on both sides of that crop,
    which are then equal, the one is taken whose parts with all crops are less alike.

    Args:
        points: float32 [M, K], tracklets of 2·SMALLEST_PART crops and more one after another, each
            in the order of time.
        start: int [T], the row in which each tracklet begins.
    """
    size = np.diff(start, append=len(points))
    looked_at = np.minimum(size, LONGEST)
    at = np.empty(len(start), np.int64)
    alike = np.empty(len(start), np.float32)

    # Tracklets of one length are looked at together, as many as memory allows.
    for length in np.unique(looked_at).tolist():
        of_length = np.flatnonzero(looked_at == length)
        products = len(of_length) * length * length
        pieces = 1 + products // AT_ONCE
        for some in np.array_split(of_length, pieces):
            steps = np.arange(length) * size[some][:, None] // length
            rows = start[some][:, None] + steps
            cosine, with_all = _cosines_of_cuts(points[rows])
            best = (cosine + NUDGE * with_all).argmin(1)
            line = np.arange(len(some))
            at[some] = rows[line, best + SMALLEST_PART]
            alike[some] = cosine[line, best]

    bounds = np.stack([start, at], 1).ravel()
    directions = unit(run_sums(points, bounds))
    return Parts(at, alike, early=directions[::2], late=directions[1::2])


def _cosines_of_cuts(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike the parts of every cut are, for tracklets of one length.

    Let E and L be the sums of the early and the late part. Everything follows from products of
    crops with these sums: leaving crop f out of the early part gives

        (E - f)·L = E·L - f·L      and      |E - f|² = |E|² - 2 f·E + |f|².

    Args:
        points: float32 [T, n, K].

    Returns:
        [T, n - 2·SMALLEST_PART + 1] each: the cosine if that crop is left out without which the
        parts are most alike; and the cosine with all crops.
    """
    count = points.shape[1]
    products = points @ points.transpose(0, 2, 1)
    squared = np.einsum("tii->ti", products)[:, None]

    # [T, cut, crop]: the product of each crop with E, and with L.
    cuts = slice(SMALLEST_PART - 1, count - SMALLEST_PART)
    with_sum_so_far = products.cumsum(1)
    with_late = (with_sum_so_far[:, -1:] - with_sum_so_far)[:, cuts]
    with_early = with_sum_so_far[:, cuts]
    # [cut, crop]: whether the crop is in the early part.
    late_begin = np.arange(SMALLEST_PART, count - SMALLEST_PART + 1)
    is_early = np.arange(count) < late_begin[:, None]

    def add_up(where: np.ndarray, products: np.ndarray) -> np.ndarray:
        return np.where(where, products, 0).sum(2, keepdims=True)

    across = add_up(is_early, with_late)  # E·L
    early_squared = add_up(is_early, with_early)  # |E|²
    late_squared = add_up(~is_early, with_late)  # |L|²
    with_all = _cosine(across, early_squared, late_squared)[..., 0]

    def leave_out(squared_sum: np.ndarray, with_sum: np.ndarray) -> np.ndarray:
        return squared_sum - 2 * with_sum + squared

    # Each crop left out in its turn.
    across_without = across - np.where(is_early, with_late, with_early)
    early_without = np.where(is_early, leave_out(early_squared, with_early), early_squared)
    late_without = np.where(is_early, late_squared, leave_out(late_squared, with_late))
    without_one = _cosine(across_without, early_without, late_without).max(2)
    return np.maximum(with_all, without_one), with_all


def _cosine(product: np.ndarray, squared: np.ndarray, other_squared: np.ndarray) -> np.ndarray:
    """A cosine from a product and two squared lengths."""
    squared = np.maximum(squared, 1e-12)
    other_squared = np.maximum(other_squared, 1e-12)
    return product / np.sqrt(squared * other_squared)


def gain_of_exchange(parts: Parts, videos: np.ndarray) -> np.ndarray:
    """What an exchange of late parts with another tracklet of its video would bring at best.

    That is how alike early and late parts are crosswise, less how alike those of the tracklet are.

    Args:
        parts: of T tracklets.
        videos: int [T], ascending.

    Returns:
        float32 [T]; -1 where there is no other tracklet: as with a stranger in one piece.
    """
    gain = np.full(len(videos), -1, np.float32)
    video_starts = run_starts(videos)
    for rows in np.split(np.arange(len(videos)), video_starts[1:]):
        if len(rows) < 2:
            continue
        early, late = parts.early[rows], parts.late[rows]
        early_with_late = early @ late.T
        crosswise = early_with_late + early_with_late.T
        # Or the two have been walked the other way round: early with early, late with late.
        straight = early @ early.T + late @ late.T
        fits = np.maximum(crosswise, straight) - parts.alike[rows]
        np.fill_diagonal(fits, -np.inf)
        gain[rows] = fits.max(1)
    return gain
