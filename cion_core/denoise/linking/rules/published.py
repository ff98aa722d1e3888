"""Linking Relations as published: close centroids are linked; what hangs together is one person."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import norm

from cion_core.denoise.linking.agglomeration import single_linkage
from cion_core.denoise.linking.calibration import ENOUGH, Calibration, curve
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord, Nodes, RuleState
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.neighbours import arrays

# Points of which all pairs are looked at, where too few were seen together.
SAMPLE = 2000


class Published(LinkingRule):
    """Every two nodes of one position whose centroids are close are linked, the nearest first.

    A link is left out where the set would hold a forbidden pair or, with a radius, a point farther
    than it from the set's centroid. Without both, identities are connected components.
    """

    about = "links centroids closer than the separation; what hangs together is one person"

    def fit(self, nodes: Nodes) -> tuple[RuleState, np.ndarray]:
        """The features' own space."""
        return {}, nodes.centres

    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """`rate` wrong links per node of the first position of the Sliding Range."""
        first = self.sliding.first
        return calibrate_separation(points[first], nodes.forbidden[first, first], rate)

    def link(
        self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None
    ) -> LinkingResult:
        """Single linkage in every position."""
        found = []
        for rows in self.sliding.positions(len(points)):
            for i, j, distance in arrays.close_pairs(points[rows], separation):
                found.append(np.stack([rows[i], rows[j], distance], 1))
        relations = _nearest_first(found)
        sets, merges = single_linkage(
            len(points), relations, nodes.forbidden, points, radius, nodes.initial_sets
        )
        return LinkingResult(sets, merges)

    def extend(
        self, old: LinkRecord, nodes: Nodes, separation: float, radius: float | None
    ) -> tuple[np.ndarray, LinkingResult]:
        """Each new node is compared with all nodes."""
        points = np.concatenate([old.points, nodes.centres])
        relations = _relations_of_new(points, len(old.points), separation)
        forbidden = old.forbidden_with(nodes)
        initial_sets = old.sets_with(nodes)
        sets, merges = single_linkage(
            len(points), relations, forbidden, points, radius, initial_sets
        )
        return nodes.centres, LinkingResult(sets, merges)


def _relations_of_new(points: np.ndarray, old: int, separation: float) -> np.ndarray:
    """The relations in which a point behind the first `old` takes part, as `_nearest_first`."""
    count, block = len(points), arrays.BLOCK
    found = []
    for first in range(0, count, block):
        for second in range(old, count, block):
            cosine = points[first : first + block] @ points[second : second + block].T
            distance = 1 - cosine
            row, column = np.nonzero(distance < separation)
            i, j = row + first, column + second
            near = np.maximum(distance[row, column], 0)
            each_once = i < j
            found.append(np.stack([i, j, near], 1)[each_once])
    return _nearest_first(found)


def calibrate_separation(
    points: np.ndarray, forbidden: sparse.csr_matrix, rate: float
) -> Calibration:
    """The separation of centroids at which `rate` wrong links per node are expected.

    Negatives are nodes seen together, or, where those are few, all pairs, nearly all of which are
    different people. There may be too few to hold one that is so close. So a log-normal
    distribution is fitted to them, and the threshold is read off its lower tail.

    Args:
        points: float32 [n, D], unit length.
        forbidden: bool [n, n], who was seen together.
        rate: wrong links per node (`false_link_rate` in `Settings`).
    """
    i, j = sparse.triu(forbidden, 1).nonzero()
    source = "identities seen together"
    if len(i) < ENOUGH:
        i, j = np.triu_indices(min(len(points), SAMPLE), 1)
        source = "all pairs"
    negatives = 1 - np.einsum("nd,nd->n", points[i], points[j])
    if len(negatives) < 2:
        how = "fewer than three identities: nothing to link"
        return Calibration(0.0, how, 0, len(negatives))

    logs = np.log(np.maximum(negatives, 1e-3))
    # Of all pairs, the share that gives `rate` links for each node.
    share = min(0.5, 2 * rate / (len(points) - 1))
    log_threshold = logs.mean() + norm.ppf(share) * logs.std()
    threshold = float(np.exp(log_threshold))
    how = f"{rate:g} wrong links expected per identity, from the lower tail of {source}"
    return Calibration(threshold, how, 0, len(negatives), curve(np.empty(0), negatives))


def _nearest_first(found: list[np.ndarray]) -> np.ndarray:
    """Relations (node, node, distance), each once, in the order in which they are taken, [M, 3]."""
    relations = np.unique(np.concatenate([*found, np.empty((0, 3))]), axis=0)
    first, second, distance = relations.T
    return relations[np.lexsort((second, first, distance))]
