"""Thresholds for linking across videos, from the data itself; see `calibrate` for those inside one video."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import norm

from cion_core.denoise.linking import agglomeration as linkage
from cion_core.denoise.calibration import ENOUGH, Calibration, curve
from cion_core.neighbours.k_reciprocal import similarity

RIGHT = 0.8  # share of the links that must be right by the estimate: below it, F1 loses more than it gains
HARDLY = 1 / 3  # a smaller share of right links than that means that there is nobody to link
LIMITS = (0.7, 0.725, 0.75, 0.775)  # distances that linking may go up to
STRICT = 0.2  # distance below which linking does not err
ALONE = 0.725  # where nothing can be counted


def published(points: np.ndarray, videos: np.ndarray, forbidden: sparse.csr_matrix, rate: float) -> Calibration:
    """The separation of centroids over all videos: `rate` wrong links per identity.

    Negatives: identities seen together, or, where those are few, all pairs, nearly all of which are different people.
    So few of them may be that close that none is that rare: the lower tail is that of a log-normal fit.
    """
    i, j = sparse.triu(forbidden, 1).nonzero()
    source = "identities seen together"
    if len(i) < ENOUGH:
        i, j = np.triu_indices(min(len(points), 2000), 1)
        source = "all pairs"
    negatives = 1 - np.einsum("nd,nd->n", points[i], points[j])
    if len(negatives) < 2:
        return Calibration(0.0, "fewer than three identities: nothing to link", 0, len(negatives))
    logs = np.log(np.maximum(negatives, 1e-3))
    share = min(0.5, 2 * rate / (len(points) - 1))  # of all pairs
    threshold = float(np.exp(logs.mean() + norm.ppf(share) * logs.std()))
    rule = f"{rate:g} wrong links expected per identity, from the lower tail of {source}"
    return Calibration(threshold, rule, 0, len(negatives), curve(np.empty(0), negatives, len(points) / 2))


def reciprocal(points: np.ndarray, index: np.ndarray, videos: np.ndarray, forbidden: sparse.csr_matrix) -> Calibration:
    """The distance up to which average linkage links: the largest of LIMITS at which RIGHT of the links are right.

    points float32 [n, D]; index: their `nearest.neighbours`, none forbidden; videos int [n], forbidden bool [n, n].

    Without truth: link with no cannot-links, and see how many of the pairs that were seen together it links all the
    same. Strangers that were not seen together are linked as often; the others of the linked pairs are right. Counted
    inside videos and over all, the mean of the two shares: the first misses how unlike videos are, the second how
    alike one video's people are. If none of LIMITS is that good, it is the first; but STRICT if by both counts
    HARDLY any of the links would be right. The curve: right links by that estimate, as a share of the
    most, and the share of the pairs seen together that are linked. Those linked even at STRICT are the tracker's
    errors, not linking's.
    """
    n = len(points)
    together = sparse.triu(forbidden, 1).tocoo()
    if together.nnz < ENOUGH:
        rule = f"reciprocity alone: only {together.nnz} pairs are seen together, too few to calibrate with"
        return Calibration(ALONE, rule, 0, together.nnz)
    similar = similarity(points, index)
    _, merges = linkage.average(similar, 1 - LIMITS[-1])
    free = np.array([_pairs(videos), n * (n - 1) // 2]) - together.nnz
    linked = {}  # at each distance: pairs seen together, other pairs of a video, all other pairs
    for distance in (STRICT, *LIMITS):
        label = linkage.cut(n, merges, 1 - distance)
        never = int((label[together.row] == label[together.col]).sum())
        linked[distance] = np.array([never, _pairs(label * (videos.max() + 1) + videos) - never, _pairs(label) - never])

    def right(distance: float) -> list[float]:
        never, *pairs = linked[distance]
        wrong = max(never - linked[STRICT][0], 0) / together.nnz * free
        return [1 - w / pair for w, pair in zip(wrong, pairs, strict=True) if pair > 0] or [1.0]

    shares = {d: float(np.mean(right(d))) for d in (STRICT, *LIMITS)}
    least = LIMITS[0] if max(right(LIMITS[0])) >= HARDLY else STRICT
    threshold = next((d for d in reversed(LIMITS) if shares[d] >= RIGHT), least)
    share = f"{max(shares[threshold], 0):.0%}"  # the tracker's errors, too, link people who were seen together
    rule = f"at least an estimated {share} of the links are right, by {together.nnz} pairs seen together"
    found = {d: max(shares[d], 0.0) * linked[d][2] for d in LIMITS}  # right links, by the same estimate
    drawn = [
        {
            "threshold": d,
            "positives": round(float(found[d] / max(*found.values(), 1)), 5),
            "negatives": round(float(linked[d][0] / together.nnz), 5),
        }
        for d in LIMITS
    ]
    return Calibration(threshold, rule, 0, together.nnz, drawn)


def _pairs(groups: np.ndarray) -> int:
    """How many pairs of rows share a group."""
    size = np.unique(groups, return_counts=True)[1]
    return int((size * (size - 1) // 2).sum())
