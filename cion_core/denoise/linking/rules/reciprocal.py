"""Average linkage on k-reciprocal neighbourhoods, in a space that is adapted to the footage."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from cion_core.config import Section
from cion_core.denoise.linking import agglomeration, sliding_range
from cion_core.denoise.linking.calibration import ENOUGH, Calibration
from cion_core.denoise.linking.nodes import Kept, Linked, Links, Nodes
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.denoise.linking.space import Space, learnt
from cion_core.neighbours import search
from cion_core.neighbours.k_reciprocal import similarity

RIGHT = 0.8  # share of the links that must be right by the estimate: below it, F1 loses more than it gains
HARDLY = 1 / 3  # a smaller share of right links than that means that there is nobody to link
LIMITS = (0.7, 0.725, 0.75, 0.775)  # distances that linking may go up to
STRICT = 0.2  # distance below which linking does not err
ALONE = 0.725  # where nothing can be counted


class Reciprocal(LinkingRule):
    """Nodes are one person if their centroids lie in each other's neighbourhoods, as those of most of their set do.

    The separation is a distance of neighbourhoods (1 - `k_reciprocal.similarity`), which needs no scale of the
    features; centroids are compared less their video's mean and in a space learnt from the footage (`space.learnt`).
    """

    about = "average linkage on the neighbourhoods of centroids, in a space adapted to the footage"
    compares = "neighbourhoods"
    adapts = True
    lists: np.ndarray | None = None  # of the first position: found for calibration, and used again for linking

    class Settings(Section):
        """centre: subtract each video's mean before comparing."""

        centre: bool = True

    def fit(self, nodes: Nodes) -> tuple[Kept, np.ndarray]:
        """A space learnt from the nodes' crops and their surest links."""
        space, points = learnt(
            nodes.centres, nodes.video, nodes.features, nodes.groups, nodes.forbidden,
            self.settings.centre, self.sliding.size,
        )  # fmt: skip
        return space.arrays(), points

    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """As far as most links are right, in the first position of the Sliding Range; `rate` has no say."""
        first = self.sliding.first  # what one position holds is what the threshold must suit
        self.lists = search.neighbours(points[first], search.WIDEST + search.SPARE)
        return calibrated(points[first], self.lists, nodes.video[first], nodes.forbidden[first, first])

    def link(self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None) -> Linked:
        """Position by position; a killed run goes on after its last one."""
        return sliding_range.link(points, 1 - separation, nodes.forbidden, self.sliding, radius, self.saved, self.lists)

    def extend(self, old: Links, nodes: Nodes, separation: float, radius: float | None) -> tuple[np.ndarray, Linked]:
        """New nodes are compared with all nodes, old ones with one another only where a new one is like both."""
        points = Space.of_arrays(old.kept).of(nodes.centres, nodes.video)
        both, forbidden = np.concatenate([old.points, points]), old.forbidden_with(nodes)
        return points, sliding_range.extended(both, old.place, old.kept["index"], 1 - separation, forbidden, radius)


def calibrated(points: np.ndarray, index: np.ndarray, videos: np.ndarray, forbidden: sparse.csr_matrix) -> Calibration:
    """The distance up to which average linkage links: the largest of LIMITS at which RIGHT of the links are right.

    points float32 [n, D]; index: their `search.neighbours`, none forbidden; videos int [n], forbidden bool [n, n].

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
    _, merges = agglomeration.average(similar, 1 - LIMITS[-1])
    free = np.array([_pairs(videos), n * (n - 1) // 2]) - together.nnz
    linked = {}  # at each distance: pairs seen together, other pairs of a video, all other pairs
    for distance in (STRICT, *LIMITS):
        label = agglomeration.cut(n, merges, 1 - distance)
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
