"""Linking Relations as published: centroids closer than the separation, and whatever hangs together is one person."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import norm

from cion_core.denoise.linking import agglomeration
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.denoise.linking.nodes import Kept, Linked, Links, Nodes
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.neighbours import arrays


class Published(LinkingRule):
    """Every two nodes of one position whose centroids are close are linked, the nearest first.

    A link is left out where the set would hold a forbidden pair or, with a radius, a point farther than it from the
    set's centroid. Without both, identities are connected components.
    """

    about = "links centroids closer than the separation; what hangs together is one person"

    def fit(self, nodes: Nodes) -> tuple[Kept, np.ndarray]:
        """The features' own space."""
        return {}, nodes.centres

    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """`rate` wrong links per identity of the first position of the Sliding Range."""
        first = self.sliding.first
        return calibrated(points[first], nodes.forbidden[first, first], rate)

    def link(self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None) -> Linked:
        """Single linkage in every position."""
        found = [
            np.stack([rows[i], rows[j], d], 1)
            for rows in self.sliding.positions(len(points))
            for i, j, d in arrays.close_pairs(points[rows], separation)
        ]
        relations = _nearest_first(found)
        return Linked(*agglomeration.single(len(points), relations, nodes.forbidden, points, radius, nodes.start))

    def extend(self, old: Links, nodes: Nodes, separation: float, radius: float | None) -> tuple[np.ndarray, Linked]:
        """Each new node is compared with all nodes."""
        m, points, found = len(old.points), np.concatenate([old.points, nodes.centres]), []
        n, block = len(points), arrays.BLOCK
        for first in range(0, n, block):
            for second in range(m, n, block):
                distance = 1 - points[first : first + block] @ points[second : second + block].T
                i, j = np.nonzero(distance < separation)
                one_way = i + first < j + second
                i, j = i[one_way], j[one_way]
                found.append(np.stack([i + first, j + second, np.maximum(distance[i, j], 0)], 1))
        start, forbidden, relations = old.place_with(nodes), old.forbidden_with(nodes), _nearest_first(found)
        return nodes.centres, Linked(*agglomeration.single(n, relations, forbidden, points, radius, start))


def calibrated(points: np.ndarray, forbidden: sparse.csr_matrix, rate: float) -> Calibration:
    """The separation of centroids over all videos: `rate` wrong links per identity.

    points float32 [n, D] unit; forbidden bool [n, n]. Negatives: identities seen together, or, where those are few,
    all pairs, nearly all of which are different people. So few of them may be that close that none is that rare: the
    lower tail is that of a log-normal fit.
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
    return Calibration(threshold, rule, 0, len(negatives), curve(np.empty(0), negatives))


def _nearest_first(found: list[np.ndarray]) -> np.ndarray:
    """Relations (point, point, distance) in the order in which they are taken, each once, [M, 3]."""
    relations = np.unique(np.concatenate([*found, np.empty((0, 3))]), axis=0)
    return relations[np.lexsort((relations[:, 1], relations[:, 0], relations[:, 2]))]
