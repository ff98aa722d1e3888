"""What a linking rule is given, what it gives back, and what is kept for nodes that come later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from cion_core.denoise.linking.agglomeration import DistanceMerges, lowest_of_each
from cion_core.denoise.linking.confidence import identities_at
from cion_core.neighbours.rows import Rows

# What a linking rule needs to go on with later videos: arrays by name.
RuleState = dict[str, np.ndarray]


@dataclass(frozen=True)
class Nodes:
    """The tracklets that level 2 leaves, as one sequence: by view, and by when they are first seen.

    Args:
        centres: float32 [n, D], their unit centroids.
        views: int [n], the camera view of each, from 0: a video, or one shot of a video that is
            cut.
        forbidden: bool [n, n], pairs that were seen together and can never be one; none lies within
            a set of `initial_sets`.
        features: float32 [N, D], of all crops, unit length.
        groups: int [N], the node of each crop; -1: none.
        initial_sets: int [n], the set that each begins in, an identity of level 2, by its lowest
            node.
    """

    centres: np.ndarray
    views: np.ndarray
    forbidden: sparse.csr_matrix
    features: np.ndarray | Rows
    groups: np.ndarray
    initial_sets: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)


@dataclass(frozen=True)
class LinkingResult:
    """What a rule returns: what it has linked.

    Args:
        sets: int [n], the set of each node, named by its lowest node.
        merges: the joins of two sets, (node, node, distance), in the order in which they were
            made. A rule that compares similarities gives 1 - similarity. Each set is named by its
            lowest node at that time.
        rule_state: what `extend` will want.
        close: how many pairs of sets that may be one were close enough to link, before and after;
            None: the level counts centroids closer than the separation.
        probability: float [len(merges)], that each is right; None: the rule cannot tell.
    """

    sets: np.ndarray
    merges: DistanceMerges
    rule_state: RuleState = field(default_factory=dict)
    close: tuple[int, int] | None = None
    probability: np.ndarray | None = None

    @property
    def merge_probability(self) -> np.ndarray:
        """That each merge is right, float64 [len(merges)]; NaN where the rule cannot tell."""
        if self.probability is None:
            return np.full(len(self.merges), np.nan)
        return self.probability


@dataclass(frozen=True)
class LinkRecord:
    """What level 3 keeps of its n nodes, for videos that come later and for whoever explains.

    Args:
        rule: the name of the linking rule.
        video_identity: int64 [n], the identity of level 2 of each node.
        identity: int64 [n], of level 3.
        points: float32 [n, D], the nodes' centroids as they were compared.
        forbidden: bool [n, n], who can never be one.
        rule_state: what the rule itself needs to go on.
        merges: int64 [M, 2], the joins of two sets by a node of each, in the order in which they
            were made.
        distance: float64 [M].
        probability: float64 [M], that each is right; NaN: the rule cannot tell.
        positions: int64 [P, 2], the first node of each position of the Sliding Range and the one
            behind its last. Nodes of videos that came later are in none: they were compared with
            all.
    """

    rule: str
    video_identity: np.ndarray
    identity: np.ndarray
    points: np.ndarray
    forbidden: sparse.csr_matrix
    rule_state: RuleState = field(default_factory=dict)
    merges: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    distance: np.ndarray = field(default_factory=lambda: np.empty(0))
    probability: np.ndarray = field(default_factory=lambda: np.empty(0))
    positions: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def at(self, confidence: float) -> np.ndarray:
        """The identity of each node if only merges of at least this probability had been made.

        Returns:
            int64 [n].

        Raises:
            CionError: the rule told no probabilities (`confidence.identities_at`).
        """
        return identities_at(
            self.video_identity, self.identity, self.merges, self.probability, confidence
        )

    def with_merges(self, linked: LinkingResult) -> LinkRecord:
        """These links, with what was linked later behind them."""
        pairs = np.array([(i, j) for i, j, _ in linked.merges], np.int64).reshape(-1, 2)
        distance = np.array([apart for *_, apart in linked.merges], np.float64)
        return replace(
            self,
            merges=np.concatenate([self.merges, pairs]),
            distance=np.concatenate([self.distance, distance]),
            probability=np.concatenate([self.probability, linked.merge_probability]),
        )

    @property
    def sets(self) -> np.ndarray:
        """The set of each node, named by its lowest node, int [n]."""
        return lowest_of_each(self.identity)

    def sets_with(self, nodes: Nodes) -> np.ndarray:
        """`sets`, and behind them the sets in which m nodes of other videos begin, int [n + m]."""
        return np.concatenate([self.sets, len(self.video_identity) + nodes.initial_sets])

    def forbidden_with(self, nodes: Nodes) -> sparse.csr_matrix:
        """Who can never be one among these n nodes and, behind them, m of other videos.

        Returns:
            bool [n + m, n + m].
        """
        return sparse.block_diag([self.forbidden, nodes.forbidden], "csr", dtype=bool)
